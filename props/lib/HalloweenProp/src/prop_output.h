// A pin that goes off by itself: a GuardedOutput, with an esp_timer behind it that doesn't need the loop.
#pragma once

#include <esp_timer.h>

#include "prop_core.h"

namespace prop {

class Output {
 public:
  enum class Wiring : uint8_t { ActiveHigh, ActiveLow, Pwm };

  /// Don't use a strapping pin of the ESP32 (0, 2, 5, 12, 15), and give the driver a resistor that pulls it off: pins
  /// float while the chip starts.
  Output(uint8_t pin, const Limits& limits, Wiring wiring = Wiring::ActiveHigh);

  /// Makes the pin an output that is off. Belongs into the first line of setup().
  void begin();
  /// As GuardedOutput::start. `level`, for PWM, is 1 to 255.
  const char* start(uint32_t ms, uint32_t level = 255);
  void stop();
  /// Ends what is over. Belongs into the loop; HalloweenProp does it for the outputs that it knows.
  void tick();
  void lock(const char* why);
  void unlock() { guard_.unlock(); }
  void reset() { guard_.reset(); }
  bool isOn() const { return guard_.isOn(); }
  bool isCooling();
  bool wasCutOff() { return guard_.wasCutOff(); }
  const Limits& limits() const { return guard_.limits(); }
  uint8_t pin() const { return pin_; }

 private:
  static void write(void* output, uint32_t level);
  static void cutOff(void* output);

  const uint8_t pin_;
  const Wiring wiring_;
  GuardedOutput guard_;
  esp_timer_handle_t timer_ = nullptr;
};

}  // namespace prop
