#include <stdint.h>
typedef uint32_t TickType_t;
typedef unsigned UBaseType_t;
typedef int BaseType_t;
#define pdMS_TO_TICKS(ms) ((TickType_t)((ms) / 10))
