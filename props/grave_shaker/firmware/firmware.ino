// The board of a grave that shakes: a motor on a MOSFET, driven by PWM.
#if __has_include("secrets.h")
#include "secrets.h"
#endif
#include <HalloweenProp.h>

const uint8_t MOTOR_PIN = 25;

prop::Output motor(MOTOR_PIN, {.maxOnMs = 10000, .cooldownMs = 0, .dutyMs = 40000, .windowMs = 60000},
                   prop::Output::Wiring::Pwm);

HalloweenProp board({.kind = "grave_shaker", .defaultId = "grave_shaker_hw", .description = "The board of a grave that shakes"});

void shake(prop::Call& call) {
  const uint32_t percent = static_cast<uint32_t>(call.value(1));
  const char* const why = motor.start(call.ms(0), (percent * 255 + 99) / 100);
  if (why != nullptr) return call.refuse(why);
  board.telemetry("level", percent);
}

void stopped() { board.telemetry("level", 0.0); }

const char* state() { return motor.isOn() ? "shaking" : "idle"; }

void setup() {
  board.outputs({&motor});
  board.command("shake", "Shake for a while, in ms, at a level of 1 to 100", shake,
                {prop::duration("ms", 1, 10000, 1500), prop::number("level", 1, 100, 80)}, prop::MOVES);
  board.declare("level", "number", "How hard it shakes, 1 to 100; 0 at the end", "%");
  board.onStop(stopped);
  board.stateFrom(state);
  board.begin();
}

void loop() {
  const bool wasOn = motor.isOn();
  board.loop();
  if (wasOn && !motor.isOn()) stopped();
}
