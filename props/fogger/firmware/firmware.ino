// The board of a fog machine: a relay for its pump, and its "heater ready" contact.
#if __has_include("secrets.h")
#include "secrets.h"
#endif
#include <HalloweenProp.h>

const uint8_t PUMP_PIN = 26;
/// The machine's contact closes to ground when its heater is warm enough.
const uint8_t READY_PIN = 27;

// Ten seconds in one go, and half of any minute: a pump that runs on pushes cold fluid through.
prop::Output pump(PUMP_PIN, {.maxOnMs = 10000, .cooldownMs = 0, .dutyMs = 30000, .windowMs = 60000});
prop::Debounce ready(200, false);
bool isOff = false;

HalloweenProp board({.kind = "fogger", .defaultId = "fogger_hw", .description = "The board of a fog machine"});

void start(prop::Call& call) {
  if (isOff) return call.refuse("it is switched off: send \"set_mode ready\" first");
  if (!ready.value()) return call.refuse("the heater is not ready");
  call.refuse(pump.start(call.ms(0)));
}

void setMode(prop::Call& call) {
  isOff = call.value(0) == 1;
  if (isOff) pump.stop();
  board.telemetry("mode", isOff ? "off" : "ready");
}

const char* state() {
  if (pump.isOn()) return "fogging";
  if (isOff) return "off";
  return ready.value() ? "idle" : "heating";
}

void setup() {
  board.outputs({&pump});
  pinMode(READY_PIN, INPUT_PULLUP);
  board.command("start", "Fog for a while, in ms", start, {prop::duration("ms", 1, 10000, 3000)}, prop::MOVES);
  board.command("set_mode", "off: take no start, such as while it is refilled; ready: take them again", setMode,
                {prop::oneOf("mode", "ready|off", 0)});
  board.declare("heater_ready", "boolean", "Whether it is warm enough to fog");
  board.declare("mode", "string", "The answer to set_mode");
  board.stateFrom(state);
  board.begin();
}

void loop() {
  board.loop();
  if (!ready.update(millis(), digitalRead(READY_PIN) == LOW)) return;
  if (!ready.value()) pump.stop();
  board.telemetry("heater_ready", ready.value() ? "true" : "false");
}
