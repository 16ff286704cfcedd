/* As much of ESP-IDF as the example needs, to compile it where there is no toolchain. */
#include <stdio.h>
#define STUB_LOG(tag, ...) ((void)(tag), (void)printf(__VA_ARGS__))
#define ESP_LOGD(tag, ...) STUB_LOG(tag, __VA_ARGS__)
#define ESP_LOGI(tag, ...) STUB_LOG(tag, __VA_ARGS__)
#define ESP_LOGW(tag, ...) STUB_LOG(tag, __VA_ARGS__)
#define ESP_LOGE(tag, ...) STUB_LOG(tag, __VA_ARGS__)
