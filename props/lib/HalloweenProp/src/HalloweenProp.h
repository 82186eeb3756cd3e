// A prop's board for worker-host: WiFi, MQTT with a will, commands, all-stop, telemetry, the watchdog and the settings.
// docs/protocol.md has the wire, docs/firmware.md how to build a board with it.
#pragma once

#if !__has_include(<mqtt_client.h>)
#error "HalloweenProp needs the ESP32 core 3.x by Espressif (3.3 was tried), which brings mqtt_client.h"
#endif

#include <initializer_list>

#include "prop_command.h"
#include "prop_core.h"
#include "prop_mailbox.h"
#include "prop_output.h"
#include "prop_settings.h"
#include "prop_wire.h"

namespace prop {

/// The sketch's own secrets.h, where it was included before this file.
#ifdef WIFI_NAME
inline constexpr Secrets SECRETS = {WIFI_NAME, WIFI_PASSWORD, MQTT_BROKER, MQTT_USER, MQTT_PASSWORD, MQTT_CA};
#else
inline constexpr Secrets SECRETS = {};
#endif

/// What a board is.
struct About {
  /// Its sketch's name: the same for all boards of a kind.
  const char* kind;
  /// The id of one that nobody has given another.
  const char* defaultId;
  const char* description;
  /// Without the broker for so long it disarms and switches everything off.
  uint32_t linkLossMs = 3000;
  /// It takes commands that move something only after `arm`, and boots disarmed.
  bool arms = false;
};

/// One command under way in its handler.
class Call {
 public:
  explicit Call(const double* values) : values_(values) {}
  /// The argument in that place; for a word its place among the words.
  double value(int place) const { return values_[place]; }
  uint32_t ms(int place) const { return static_cast<uint32_t>(values_[place]); }
  /// Says why not, in words that live on. What was refused has done nothing.
  void refuse(const char* why) { refusal_ = why; }
  const char* refusal() const { return refusal_; }

 private:
  const double* values_;
  const char* refusal_ = nullptr;
};

/// What a command is besides its handler.
enum Trait : uint8_t {
  PLAIN = 0,
  /// It moves or heats something: refused while the board is disarmed, if it is one to arm.
  MOVES = 1,
  /// It runs while all-stop is engaged.
  SAFE = 2,
};

class HalloweenProp {
 public:
  using Handler = void (*)(Call& call);

  explicit HalloweenProp(const About& about);

  /// Switches these off, and looks after them from now on. The first line of setup(): before it, their pins float.
  void outputs(std::initializer_list<Output*> outputs);
  void command(const char* name, const char* description, Handler handler, std::initializer_list<ArgSpec> args = {},
               uint8_t traits = PLAIN);
  /// Declares a telemetry key; `type` is JSON Schema's: number, boolean or string.
  void declare(const char* key, const char* type, const char* description, const char* unit = nullptr);
  /// Called after everything is off: by `stop`, all-stop, a lock-out, a lost link.
  void onStop(void (*handler)()) { stopped_ = handler; }
  /// Gives the prop's state, one word; it is published when it changes.
  void stateFrom(const char* (*state)()) { state_ = state; }
  /// The last line of setup(). What `secrets` lacks is asked for on the serial port.
  void begin(const Secrets& secrets = SECRETS);
  /// All there is in loop(), beside reading inputs. It never waits for the network.
  void loop();

  void telemetry(const char* key, double value);
  void telemetry(const char* key, const char* text);
  void warn(const char* format, ...) __attribute__((format(printf, 2, 3)));
  void error(const char* format, ...) __attribute__((format(printf, 2, 3)));
  /// Asks another prop, or the host, to do something, now or never.
  bool send(const char* id, const char* action);
  bool broadcastStop();

  bool isArmed() const { return armed_; }
  bool isOnline() const { return wire_.isOnline(); }
  bool isAllStop() const { return mailbox_.isAllStop(); }
  /// Whether the last reset was one that nobody asked for: the watchdog, a crash, a brownout.
  bool wasReset() const { return abnormal_; }
  const char* id() const { return settings_.id; }
  /// Everything off; what has to be armed is disarmed.
  void stop();

 private:
  struct Registered {
    const char* name;
    const char* description;
    Handler handler;
    ArgSpec args[MOST_ARGS];
    int count;
    uint8_t traits;
  };
  struct Declared {
    const char *key, *type, *description, *unit;
  };
  static constexpr int MOST_COMMANDS = 24, MOST_KEYS = 16, MOST_OUTPUTS = 8;

  void describe();
  void greet();
  void attend();
  void interlock();
  void take(Letter& letter);
  const char* perform(const Command& command, char* words, size_t size);
  const char* run(const Registered& registered, const Command& command, char* words, size_t size);
  const char* rename(const Command& command, char* words, size_t size);
  void reply(const Command& command, uint32_t since, const char* refusal);
  void report();
  void tellState();
  void leave(uint32_t now);
  void readSerial();
  void note(const char* key, Throttle& throttle, const char* format, va_list arguments);

  const About about_;
  Settings settings_;
  Menu menu_;
  Mailbox mailbox_;
  Wire wire_;
  Registered commands_[MOST_COMMANDS];
  Declared keys_[MOST_KEYS];
  Output* outputs_[MOST_OUTPUTS];
  int commandCount_ = 0, keyCount_ = 0, outputCount_ = 0;
  void (*stopped_)() = nullptr;
  const char* (*state_)() = nullptr;
  const char* interlock_ = nullptr;
  const char* toldState_ = "";
  /// Until the first connection it is.
  bool linkLost_ = true;
  bool armed_ = false;
  bool abnormal_ = false;
  bool greeted_ = false;
  bool restart_ = false;
  bool leaves_ = false;
  uint32_t leavesAt_ = 0;
  bool begun_ = false;
  uint32_t linkedAt_ = 0;
  uint32_t reportAt_ = 0;
  SeenIds seen_;
  Throttle warnings_{10, 2};
  Throttle errors_{10, 2};
  char description_[4096];
};

}  // namespace prop

using prop::HalloweenProp;
