#include "prop_output.h"

#include <Arduino.h>
#include <driver/gpio.h>

namespace prop {

namespace {

constexpr uint32_t PWM_HZ = 20000;
constexpr uint8_t PWM_BITS = 8;
/// So much later than the loop the timer ends it. A publish or a reconnect holds up a healthy loop for some 100 ms, and
/// that is no error.
constexpr uint32_t CUT_OFF_MARGIN_MS = 250;

}  // namespace

Output::Output(uint8_t pin, const Limits& limits, Wiring wiring)
    : pin_(pin), wiring_(wiring), guard_(limits, &Output::write, this) {}

void Output::begin() {
  // The level comes before the direction, so that the pin is never driven the wrong way. The core's digitalWrite() does
  // nothing before pinMode().
  gpio_set_level(static_cast<gpio_num_t>(pin_), wiring_ == Wiring::ActiveLow ? 1 : 0);
  pinMode(pin_, OUTPUT);
  if (wiring_ == Wiring::Pwm) ledcAttach(pin_, PWM_HZ, PWM_BITS);
  guard_.stop(millis());
  esp_timer_create_args_t args = {};
  args.callback = &Output::cutOff;
  args.arg = this;
  args.name = "cut_off";
  if (esp_timer_create(&args, &timer_) != ESP_OK) timer_ = nullptr;
}

const char* Output::start(uint32_t ms, uint32_t level) {
  if (timer_ == nullptr) return "it has no cut-off timer";
  const uint32_t now = millis();
  const char* const why = guard_.refusal(now, ms, level);
  if (why != nullptr) return why;
  // The timer runs before the pin is on, so that there is no moment in which nothing would end it.
  esp_timer_stop(timer_);
  const uint64_t us = static_cast<uint64_t>(guard_.lasting(now, ms) + CUT_OFF_MARGIN_MS) * 1000;
  if (esp_timer_start_once(timer_, us) == ESP_OK) return guard_.start(now, ms, level);
  stop();
  return "its cut-off timer does not start";
}

void Output::stop() {
  guard_.stop(millis());
  if (timer_ != nullptr) esp_timer_stop(timer_);
}

void Output::tick() { guard_.tick(millis()); }

void Output::lock(const char* why) { guard_.lock(millis(), why); }

bool Output::isCooling() { return guard_.isCooling(millis()); }

void Output::write(void* context, uint32_t level) {
  const Output& output = *static_cast<Output*>(context);
  if (output.wiring_ == Wiring::Pwm) {
    ledcWrite(output.pin_, level);
  } else {
    digitalWrite(output.pin_, (level > 0) == (output.wiring_ == Wiring::ActiveHigh) ? HIGH : LOW);
  }
}

void Output::cutOff(void* output) { static_cast<Output*>(output)->guard_.cutOff(); }

}  // namespace prop
