// The ESP32 core on Linux: what our sketches and their library use of it, and no more. Pins are traced as JSON lines on
// stdout; inputs, and faults to try, come as JSON lines on stdin. docs/firmware.md lists both.
#pragma once

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_IDF_TARGET "linux"

#define LOW 0
#define HIGH 1
#define INPUT 0x01
#define OUTPUT 0x03
#define INPUT_PULLUP 0x05
#define INPUT_PULLDOWN 0x09
#define SERIAL_8N1 0x800001c

// The core has it too, as a trap for whoever calls something so.
#define word(...) makeWord(__VA_ARGS__)

void setup();
void loop();

uint32_t millis();
void delay(uint32_t ms);
void pinMode(uint8_t pin, uint8_t mode);
void digitalWrite(uint8_t pin, uint8_t value);
int digitalRead(uint8_t pin);
bool ledcAttach(uint8_t pin, uint32_t frequencyHz, uint8_t bits);
bool ledcWrite(uint8_t pin, uint32_t duty);

class HardwareSerial {
 public:
  explicit HardwareSerial(int number) : number_(number) {}
  void begin(unsigned long baud, uint32_t config = SERIAL_8N1, int8_t rxPin = -1, int8_t txPin = -1);
  int available();
  int read();
  size_t write(const uint8_t* bytes, size_t length);
  size_t print(const char* text);
  size_t printf(const char* format, ...) __attribute__((format(printf, 2, 3)));

 private:
  const int number_;
};

/// The USB port: its output is traced, its input comes as {"serial": "…"}.
extern HardwareSerial Serial;
/// A device's: what is written to it is traced in hexadecimal.
extern HardwareSerial Serial2;
