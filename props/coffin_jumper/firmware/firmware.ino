// The board of a coffin whose lid jumps: a motion sensor, an air valve, and a DFPlayer for the sound.
#if __has_include("secrets.h")
#include "secrets.h"
#endif
#include <HalloweenProp.h>
#include <Preferences.h>

const uint8_t VALVE_PIN = 26;
const uint8_t PIR_PIN = 27;
const int8_t SOUND_RX_PIN = 16, SOUND_TX_PIN = 17;
const uint8_t HOWL = 1;

// The lid is heavy: five seconds at most, a second to come down, and a quarter of the time at most.
prop::Output valve(VALVE_PIN, {.maxOnMs = 5000, .cooldownMs = 1000, .dutyMs = 15000, .windowMs = 60000});
prop::Debounce pir(50, false);
Preferences kept;
bool isBlocked = false;
bool isFaulty = false;

HalloweenProp board({.kind = "coffin_jumper",
                     .defaultId = "coffin_jumper_hw",
                     .description = "The board of a coffin whose lid jumps",
                     .arms = true});

/// One order to a DFPlayer: 7E, version, length, order, no answer, two bytes, their checksum, EF.
void tellPlayer(uint8_t order, uint8_t value) {
  const uint16_t sum = static_cast<uint16_t>(-(0xFF + 0x06 + order + value));
  const uint8_t frame[] = {0x7E, 0xFF, 0x06, order, 0x00, 0x00, value, static_cast<uint8_t>(sum >> 8), static_cast<uint8_t>(sum), 0xEF};
  Serial2.write(frame, sizeof frame);
}

void block(bool blocked) {
  isBlocked = blocked;
  if (blocked) valve.stop();
  kept.putBool("blocked", blocked);
}

void jump(prop::Call& call) {
  if (isFaulty) return call.refuse("it was reset in the middle of something: look at it, then send \"reset\"");
  if (isBlocked) return call.refuse("it is blocked: send \"unblock\" first");
  const char* const why = valve.start(call.ms(0));
  if (why != nullptr) return call.refuse(why);
  tellPlayer(0x03, HOWL);
}

void setVolume(prop::Call& call) { tellPlayer(0x06, static_cast<uint8_t>(call.value(0))); }

void reset(prop::Call&) {
  isFaulty = false;
  valve.reset();
}

const char* state() {
  if (isFaulty) return "fault";
  if (isBlocked) return "blocked";
  if (valve.isOn()) return "jumping";
  if (!board.isArmed()) return "disarmed";
  return valve.isCooling() ? "cooldown" : "armed";
}

void setup() {
  board.outputs({&valve});
  pinMode(PIR_PIN, INPUT_PULLDOWN);
  Serial2.begin(9600, SERIAL_8N1, SOUND_RX_PIN, SOUND_TX_PIN);
  kept.begin("coffin", false);
  isBlocked = kept.getBool("blocked", false);
  isFaulty = board.wasReset();
  board.command("jump", "Open the valve for a while, in ms", jump, {prop::duration("ms", 1, 5000, 1500)}, prop::MOVES);
  board.command("block", "Keep the lid down, also over a restart, until unblock", [](prop::Call&) { block(true); }, {}, prop::SAFE);
  board.command("unblock", "Let the lid jump again", [](prop::Call&) { block(false); });
  board.command("reset", "End a cooldown, and a fault after somebody looked at it", reset);
  board.command("set_volume", "How loud, 0 to 30", setVolume, {prop::number("volume", 0, 30, 20)}, prop::SAFE);
  board.declare("pir", "number", "1: somebody is in front of it; 0: nobody any more");
  board.stateFrom(state);
  board.begin();
}

void loop() {
  board.loop();
  if (pir.update(millis(), digitalRead(PIR_PIN) == HIGH)) board.telemetry("pir", pir.value() ? 1 : 0);
}
