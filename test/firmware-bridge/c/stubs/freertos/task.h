typedef void *TaskHandle_t;
void vTaskDelay(TickType_t ticks);
void vTaskDelete(TaskHandle_t task);
BaseType_t xTaskCreate(void (*task)(void *), const char *name, uint32_t stack, void *argument, UBaseType_t priority,
                       TaskHandle_t *created);
void sluice_task(void *argument);
void app_main(void);
