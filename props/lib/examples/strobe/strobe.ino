// A strobe: a lamp that flashes for a while. docs/firmware.md goes through it.
#if __has_include("secrets.h")
#include "secrets.h"
#endif
#include <HalloweenProp.h>

const uint8_t LAMP_PIN = 26;
const uint32_t FLASH_MS = 30;

prop::Output lamp(LAMP_PIN, {.maxOnMs = 50, .cooldownMs = 50});
bool isFlashing = false;
uint32_t everyMs = 0;
uint32_t nextAt = 0;
uint32_t endsAt = 0;

HalloweenProp board({.kind = "strobe", .defaultId = "strobe_hw", .description = "A lamp that flashes"});

void flash(prop::Call& call) {
  if (isFlashing) return call.refuse("it flashes already");
  const char* const why = lamp.start(FLASH_MS);
  if (why != nullptr) return call.refuse(why);
  const uint32_t now = millis();
  isFlashing = true;
  endsAt = now + call.ms(0);
  everyMs = static_cast<uint32_t>(1000 / call.value(1));
  nextAt = now + everyMs;
  board.telemetry("hz", call.value(1));
}

void stopped() { isFlashing = false; }

const char* state() { return isFlashing ? "flashing" : "idle"; }

void setup() {
  board.outputs({&lamp});
  board.command("flash", "Flash for a while, in ms, so many times a second", flash,
                {prop::duration("ms", 100, 10000, 2000), prop::number("hz", 1, 8, 3)}, prop::MOVES);
  board.declare("hz", "number", "How fast it flashes", "Hz");
  board.onStop(stopped);
  board.stateFrom(state);
  board.begin();
}

void loop() {
  board.loop();
  const uint32_t now = millis();
  if (!isFlashing || !prop::reached(now, nextAt)) return;
  nextAt = now + everyMs;
  isFlashing = !prop::reached(now, endsAt);
  if (isFlashing) lamp.start(FLASH_MS);
}
