// A mushroom switch that engages all-stop, and a lamp that shows the latch. It is no emergency stop: see docs/firmware.md.
#if __has_include("secrets.h")
#include "secrets.h"
#endif
#include <HalloweenProp.h>

/// Its contact is closed while nobody presses it: a broken wire counts as pressed.
const uint8_t BUTTON_PIN = 27;
const uint8_t LAMP_PIN = 26;
const uint32_t AGAIN_MS = 500;
/// Whom it tells. Each host has a latch of its own: with several, all of their names.
const char* const HOSTS[] = {"worker_host"};

prop::Debounce button(30, false);
uint32_t askedAt = 0;

HalloweenProp board({.kind = "panic_button",
                     .defaultId = "panic_button",
                     .description = "A mushroom switch that engages all-stop, and a lamp that shows it"});

/// Again and again while it is pressed, until the latch shows that somebody heard it.
void ask(uint32_t now) {
  if (!button.value() || board.isAllStop() || !board.isOnline() || !prop::reached(now, askedAt)) return;
  askedAt = now + AGAIN_MS;
  for (const char* host : HOSTS) board.send(host, "all_stop the panic button");
  // Where no host is there, the boards stop all the same.
  board.broadcastStop();
}

/// On: all-stop is engaged. Fast: pressed, and nobody has heard it yet. Slow: the broker is out of reach.
bool lampAt(uint32_t now) {
  if (board.isAllStop()) return true;
  if (button.value()) return now / 100 % 2 == 0;
  return !board.isOnline() && now / 500 % 2 == 0;
}

const char* state() {
  if (board.isAllStop()) return "engaged";
  return button.value() ? "pressed" : "ready";
}

void setup() {
  pinMode(LAMP_PIN, OUTPUT);
  pinMode(BUTTON_PIN, INPUT_PULLUP);
  board.declare("pressed", "boolean", "Whether it is pressed, or its wire broken");
  board.stateFrom(state);
  board.begin();
}

void loop() {
  board.loop();
  const uint32_t now = millis();
  if (button.update(now, digitalRead(BUTTON_PIN) == HIGH)) {
    board.telemetry("pressed", button.value() ? "true" : "false");
    askedAt = now;
  }
  ask(now);
  digitalWrite(LAMP_PIN, lampAt(now) ? HIGH : LOW);
}
