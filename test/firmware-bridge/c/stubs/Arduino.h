/* As much of Arduino as the example needs, to compile it where there is no board. */
#ifndef ARDUINO_H
#define ARDUINO_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#define LED_BUILTIN 13
#define OUTPUT 1
#define HIGH 1
#define LOW 0
#define A0 14
class HardwareSerial {
public:
  void begin(unsigned long baud);
  int available();
  int read();
  size_t write(const uint8_t *bytes, size_t count);
};
extern HardwareSerial Serial;
unsigned long millis();
int analogRead(uint8_t pin);
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
#endif
