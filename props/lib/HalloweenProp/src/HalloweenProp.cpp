#include "HalloweenProp.h"

#include <Arduino.h>
#include <WiFi.h>
#include <esp_system.h>
#include <esp_task_wdt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

namespace prop {

namespace {

constexpr uint32_t WATCHDOG_MS = 5000;
constexpr uint32_t REPORT_MS = 30000;
constexpr uint32_t LEAVE_MS = 2000;

Text textOf(const char* text) { return Text{text, strlen(text)}; }

const char* resetReason() {
  switch (esp_reset_reason()) {
    case ESP_RST_POWERON:
      return "power_on";
    case ESP_RST_EXT:
      return "external";
    case ESP_RST_SW:
      return "software";
    case ESP_RST_PANIC:
      return "panic";
    case ESP_RST_INT_WDT:
      return "interrupt_watchdog";
    case ESP_RST_TASK_WDT:
      return "task_watchdog";
    case ESP_RST_WDT:
      return "watchdog";
    case ESP_RST_BROWNOUT:
      return "brownout";
    default:
      return "unknown";
  }
}

bool isAbnormal() {
  switch (esp_reset_reason()) {
    case ESP_RST_PANIC:
    case ESP_RST_INT_WDT:
    case ESP_RST_TASK_WDT:
    case ESP_RST_WDT:
    case ESP_RST_BROWNOUT:
      return true;
    default:
      return false;
  }
}

void startWatchdog() {
  esp_task_wdt_config_t config = {};
  config.timeout_ms = WATCHDOG_MS;
  config.trigger_panic = true;
  // The core has started it already.
  if (esp_task_wdt_init(&config) != ESP_OK) esp_task_wdt_reconfigure(&config);
  esp_task_wdt_add(nullptr);
}

void describeArg(JsonWriter& json, const ArgSpec& spec, const char* name) {
  json.open('{', name);
  if (spec.kind == ArgSpec::Kind::Word) {
    json.text("type", "string").open('[', "enum");
    const char* words = spec.words;
    Text choice, otherwise;
    for (int place = 0; takeChoice(words, choice); ++place) {
      json.text(nullptr, choice);
      if (place == spec.otherwise) otherwise = choice;
    }
    json.close(']');
    if (!otherwise.empty()) json.text("default", otherwise);
  } else {
    json.text("type", "number").number("minimum", spec.least).number("maximum", spec.most);
    if (!isnan(spec.otherwise)) json.number("default", spec.otherwise);
  }
  json.close('}');
}

/// The one argument's schema, or an object's with each of them.
void describeArgs(JsonWriter& json, const ArgSpec* specs, int count) {
  if (count == 0) return;
  if (count == 1) {
    describeArg(json, specs[0], "args");
    return;
  }
  json.open('{', "args").text("type", "object").open('{', "properties");
  for (int i = 0; i < count; ++i) describeArg(json, specs[i], specs[i].name);
  json.close('}').close('}');
}

void printToSerial(const char* text) { Serial.print(text); }

}  // namespace

HalloweenProp::HalloweenProp(const About& about)
    : about_(about), menu_(settings_, printToSerial), wire_(mailbox_), abnormal_(isAbnormal()) {}

void HalloweenProp::outputs(std::initializer_list<Output*> outputs) {
  for (Output* const output : outputs) {
    output->begin();
    if (outputCount_ < MOST_OUTPUTS) outputs_[outputCount_++] = output;
  }
}

void HalloweenProp::command(const char* name, const char* description, Handler handler,
                            std::initializer_list<ArgSpec> args, uint8_t traits) {
  if (commandCount_ == MOST_COMMANDS) return;
  Registered& one = commands_[commandCount_++];
  one = Registered{name, description, handler, {}, 0, traits};
  for (const ArgSpec& spec : args) {
    if (one.count < MOST_ARGS) one.args[one.count++] = spec;
  }
}

void HalloweenProp::declare(const char* key, const char* type, const char* description, const char* unit) {
  if (keyCount_ < MOST_KEYS) keys_[keyCount_++] = Declared{key, type, description, unit};
}

void HalloweenProp::begin(const Secrets& secrets) {
  Serial.begin(115200);
  settings_.load(about_.defaultId, secrets);
  command("ping", "Answer, to show that it is there", nullptr, {}, SAFE);
  command("stop", "Everything off at once", nullptr, {}, SAFE);
  if (about_.arms) {
    command("arm", "Let commands move it", nullptr);
    command("disarm", "Everything off, and nothing moves until arm", nullptr, {}, SAFE);
  }
  command("rename", "Take another id, and restart disarmed", nullptr, {}, SAFE);
  declare("rssi", "number", "How well it hears the WiFi", "dBm");
  declare("uptime", "number", "Since its start", "s");
  declare("heap", "number", "Free memory", "B");
  declare("reset_reason", "string", "Why it started");
  wire_.begin(settings_);
  interlock();
  startWatchdog();
  Serial.printf("\n%s: press Enter for the settings\n", settings_.id);
  begun_ = true;
}

void HalloweenProp::loop() {
  esp_task_wdt_reset();
  const uint32_t now = millis();
  for (int i = 0; i < outputCount_; ++i) {
    outputs_[i]->tick();
    if (outputs_[i]->wasCutOff()) error("the output on pin %u was cut off by its timer: the loop was late", outputs_[i]->pin());
  }
  wire_.loop(now);
  // Also where it is online again: the client has a task of its own, and nobody here has seen what was in between.
  if (reached(now, linkedAt_ + about_.linkLossMs)) linkLost_ = true;
  else if (wire_.isOnline()) linkLost_ = false;
  if (wire_.isOnline()) linkedAt_ = now;
  interlock();
  if (mailbox_.takeStop()) stop();
  greet();
  if (!restart_) attend();
  // A rename clears what is retained under the old id: nothing is said there after it.
  if (!restart_) {
    tellState();
    report();
    readSerial();
  }
  if (restart_) leave(now);
}

/// Restarts, once what was said before has arrived.
void HalloweenProp::leave(uint32_t now) {
  if (!leaves_) {
    leaves_ = true;
    leavesAt_ = now + LEAVE_MS;
    stop();
  }
  if (wire_.isOnline() && !wire_.isQuiet() && !reached(now, leavesAt_)) return;
  wire_.leave();
  esp_restart();
}

/// Keeps everything off for as long as it must be.
void HalloweenProp::interlock() {
  const char* why = nullptr;
  if (mailbox_.isAllStop()) {
    why = "all-stop is engaged: only stop and safe commands run, until all_clear";
  } else if (mailbox_.isLockedOut()) {
    why = "it is locked out, until the host is told to release it";
  } else if (linkLost_) {
    why = "the broker is out of reach";
  }
  if (why == interlock_) return;
  interlock_ = why;
  for (int i = 0; i < outputCount_; ++i) {
    if (why == nullptr) outputs_[i]->unlock();
    else outputs_[i]->lock(why);
  }
  if (why == nullptr) return;
  if (begun_) Serial.printf("everything off: %s\n", why);
  stop();
}

void HalloweenProp::stop() {
  for (int i = 0; i < outputCount_; ++i) outputs_[i]->stop();
  armed_ = false;
  if (stopped_ != nullptr) stopped_();
}

/// What is said at the begin of each connection: a broker may have forgotten everything.
void HalloweenProp::greet() {
  if (!wire_.isOnline()) {
    greeted_ = false;
    return;
  }
  if (greeted_) return;
  greeted_ = true;
  describe();
  toldState_ = "";
  tellState();
  wire_.publish("status/availability", textOf("online"), 1, true);
  Serial.printf("%s is online\n", settings_.id);
  telemetry("reset_reason", resetReason());
  if (abnormal_ && wire_.session() == 1) error("it was reset (%s): what it was doing was cut off", resetReason());
  reportAt_ = millis();
}

void HalloweenProp::describe() {
  JsonWriter json(description_, sizeof description_);
  json.open('{').number("contract", 1).text("id", settings_.id).text("class", about_.kind);
  json.text("board", CONFIG_IDF_TARGET).text("description", about_.description).open('{', "commands");
  for (int i = 0; i < commandCount_; ++i) {
    const Registered& one = commands_[i];
    json.open('{', one.name).text("description", one.description);
    if (strcmp(one.name, "rename") == 0) json.open('{', "args").text("type", "string").close('}');
    describeArgs(json, one.args, one.count);
    if ((one.traits & SAFE) != 0) json.boolean("safe", true);
    json.close('}');
  }
  json.close('}').open('{', "telemetry");
  for (int i = 0; i < keyCount_; ++i) {
    const Declared& one = keys_[i];
    json.open('{', one.key).text("type", one.type).text("description", one.description);
    if (one.unit != nullptr) json.text("unit", one.unit);
    json.close('}');
  }
  json.close('}').close('}');
  if (json.whole()) wire_.publish("description", Text{description_, json.length()}, 1, true);
  else error("its description is longer than %u bytes: declare less", static_cast<unsigned>(sizeof description_));
}

void HalloweenProp::attend() {
  // One in each round, so that what is on is looked after in between.
  static Letter letter;
  if (mailbox_.take(letter)) take(letter);
  const uint32_t dropped = mailbox_.takeDropped();
  if (dropped > 0) warn("%lu commands dropped: they came faster than it can take them", static_cast<unsigned long>(dropped));
}

void HalloweenProp::take(Letter& letter) {
  if (letter.kind == Letter::Kind::OthersStop) {
    stop();
    return;
  }
  if (letter.kind == Letter::Kind::TooLong) {
    warn("command of %u bytes refused: at most %u", static_cast<unsigned>(letter.length),
         static_cast<unsigned>(MAX_PAYLOAD_BYTES));
    return;
  }
  Command command;
  Refusal forgiven;
  const Refusal refusal = parseCommand(letter.payload, letter.length, command, forgiven);
  if (refusal != Refusal::None) {
    if (letter.kind != Letter::Kind::Retained || letter.length > 0) warn("%s", wordsFor(refusal));
    return;
  }
  char words[200];
  char action[64];
  command.action.copyTo(action, sizeof action);
  const char* why = nullptr;
  const bool isStop = command.stops();
  if (forgiven != Refusal::None) warn("%s obeyed, though %s", action, faultIn(forgiven));
  if (letter.kind == Letter::Kind::Retained && !isStop) {
    warn("retained command refused: \"%s\"; publish commands without the retain flag", action);
    return;
  }
  if (!command.replyTo.empty() && !wire_.isReplyTopic(command.replyTo)) {
    if (!isStop) {
      warn("\"%s\" refused: a reply goes to %s/<id>/reply/<name> only", action, wire_.prefix());
      return;
    }
    warn("%s obeyed without a reply: a reply goes to %s/<id>/reply/<name> only", action, wire_.prefix());
    command.replyTo = Text{};
  }
  if (isStop) {
    stop();
  } else if (letter.overtaken) {
    why = "a stop came after it";
  } else {
    why = perform(command, words, sizeof words);
  }
  if (why != nullptr) warn("%s refused: %s", action, why);
  reply(command, letter.at, why);
}

/// Runs a command; why not, in words, which may stand in `words`.
const char* HalloweenProp::perform(const Command& command, char* words, size_t size) {
  if (!command.id.empty() && seen_.seen(command.id.at, command.id.length)) return "a command with this id has run already";
  for (int i = 0; i < commandCount_; ++i) {
    if (command.action.is(commands_[i].name)) return run(commands_[i], command, words, size);
  }
  int at = snprintf(words, size, "it is unknown; known: ");
  for (int i = 0; i < commandCount_ && at > 0 && static_cast<size_t>(at) < size; ++i) {
    at += snprintf(words + at, size - static_cast<size_t>(at), i == 0 ? "%s" : ", %s", commands_[i].name);
  }
  return words;
}

const char* HalloweenProp::run(const Registered& one, const Command& command, char* words, size_t size) {
  if ((one.traits & SAFE) == 0 && interlock_ != nullptr) return interlock_;
  if (strcmp(one.name, "rename") == 0) return rename(command, words, size);
  double values[MOST_ARGS];
  if (one.handler == nullptr && one.count == 0) {
    if (strcmp(one.name, "arm") == 0) armed_ = true;
    if (strcmp(one.name, "disarm") == 0) stop();
    if (strcmp(one.name, "ping") == 0) telemetry("pong", "ok");
    return nullptr;
  }
  if (!readArgs(command, one.args, one.count, values, words, size)) return words;
  if ((one.traits & MOVES) != 0 && about_.arms && !armed_) return "it is disarmed: send \"arm\" first";
  Call call(values);
  one.handler(call);
  return call.refusal();
}

const char* HalloweenProp::rename(const Command& command, char* words, size_t size) {
  Text given = command.args;
  char read[80];
  if (command.kind == ArgsKind::Json && isJsonObject(given)) {
    Text id;
    for (JsonMembers fields(given); fields.next();) {
      if (fields.named("id")) id = fields.value();
    }
    given = id;
  }
  if (command.kind == ArgsKind::Json) {
    if (!isJsonText(given) || given.length > sizeof read) return "expected the new id, such as fogger_hw";
    given = readJsonText(given, read);
  }
  char id[66];
  given.copyTo(id, sizeof id);
  const char* fault = faultOfId(id);
  if (given.length >= sizeof id) fault = "an id has 1 to 64 characters";
  if (fault == nullptr && strcmp(id, settings_.id) == 0) fault = "it has this id already";
  if (fault != nullptr) {
    snprintf(words, size, "%s", fault);
    return words;
  }
  stop();
  Settings::saveId(id);
  restart_ = true;
  return nullptr;
}

void HalloweenProp::reply(const Command& command, uint32_t since, const char* refusal) {
  char topic[256];
  char text[512];
  if (!command.replyTo.empty() && command.replyTo.length < sizeof topic) {
    command.replyTo.copyTo(topic, sizeof topic);
    JsonWriter json(text, sizeof text);
    json.open('{');
    if (!command.id.empty()) json.text("id", command.id);
    json.text("from", settings_.id);
    json.text("status", refusal == nullptr ? "ok" : "error");
    if (refusal != nullptr) json.text("error", refusal).boolean("refused", true);
    else if (command.action.is("ping")) json.text("result", "pong");
    json.number("ms", millis() - since).close('}');
    if (json.whole()) wire_.publishTo(topic, Text{text, json.length()}, 1, false);
  }
  if (!restart_) return;
  // It leaves nothing behind under its old id; the availability goes last, since a worker may take the id over then.
  for (const char* const rest : {"description", "state", "status/availability"}) wire_.publish(rest, Text{}, 1, true);
}

void HalloweenProp::tellState() {
  const char* const state = state_ == nullptr ? "idle" : state_();
  if (strcmp(state, toldState_) == 0 || !wire_.isOnline()) return;
  if (wire_.publish("state", textOf(state), 1, true)) toldState_ = state;
}

void HalloweenProp::report() {
  if (!wire_.isOnline()) return;
  const uint32_t now = millis();
  const uint32_t more = warnings_.leftOut(now);
  if (more > 0) {
    char text[48];
    snprintf(text, sizeof text, "%lu more were left out", static_cast<unsigned long>(more));
    wire_.publish("status/warn", textOf(text), 0, false);
  }
  if (!reached(now, reportAt_)) return;
  reportAt_ = now + REPORT_MS;
  telemetry("rssi", wire_.rssi());
  telemetry("uptime", now / 1000);
  telemetry("heap", esp_get_free_heap_size());
}

void HalloweenProp::telemetry(const char* key, double value) {
  char text[32];
  // What was counted is told whole.
  const bool whole = value == floor(value) && fabs(value) < 9007199254740992.0;
  snprintf(text, sizeof text, whole ? "%.0f" : "%.10g", value);
  telemetry(key, text);
}

void HalloweenProp::telemetry(const char* key, const char* text) {
  char rest[80];
  snprintf(rest, sizeof rest, "telemetry/%s", key);
  wire_.publish(rest, textOf(text), 0, false);
}

void HalloweenProp::note(const char* key, Throttle& throttle, const char* format, va_list arguments) {
  char text[320];
  vsnprintf(text, sizeof text, format, arguments);
  if (begun_) Serial.printf("%s: %s\n", key, text);
  if (throttle.take(millis())) wire_.publish(key, textOf(text), 0, false);
}

void HalloweenProp::warn(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note("status/warn", warnings_, format, arguments);
  va_end(arguments);
}

void HalloweenProp::error(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  note("status/error", errors_, format, arguments);
  va_end(arguments);
}

bool HalloweenProp::send(const char* id, const char* action) {
  char topic[160];
  snprintf(topic, sizeof topic, "%s/%s/cmd", settings_.prefix, id);
  // QoS 0: the client would send another one again after a reconnect, when it may be long out of date.
  return wire_.publishTo(topic, textOf(action), 0, false);
}

bool HalloweenProp::broadcastStop() { return send("broadcast", "stop"); }

void HalloweenProp::readSerial() {
  while (Serial.available() > 0) {
    if (menu_.type(static_cast<char>(Serial.read()))) restart_ = true;
  }
}

}  // namespace prop
