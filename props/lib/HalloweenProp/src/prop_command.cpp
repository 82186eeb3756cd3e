#include "prop_command.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

namespace prop {

namespace {

/// The code point at `at`, and how many bytes it takes; 0 bytes where they are not UTF-8 (RFC 3629, 4).
struct CodePoint {
  uint32_t code;
  int bytes;
};

CodePoint readUtf8(const char* at, const char* end) {
  const auto byte = [&](int i) { return static_cast<uint8_t>(at[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const int bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || end - at < bytes) return {0, 0};
  uint32_t code = lead & (0xFF >> (bytes + 1));
  for (int i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {0, 0};
    code = code << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (bytes == 3 && code < 0x800) || (bytes == 4 && code < 0x10000);
  const bool none = (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF;
  return overlong || none ? CodePoint{0, 0} : CodePoint{code, bytes};
}

bool isUtf8(Text text) {
  const char* const end = text.at + text.length;
  for (const char* at = text.at; at < end;) {
    const int bytes = readUtf8(at, end).bytes;
    if (bytes == 0) return false;
    at += bytes;
  }
  return true;
}

/// What JavaScript's trim() and \s take for a space.
bool isSpace(uint32_t code) {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0xA0 || code == 0x1680 ||
         (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F ||
         code == 0x3000 || code == 0xFEFF;
}

/// How many bytes the first character takes, if it is a space; 0 if not.
size_t spaceAt(Text text) {
  if (text.empty()) return 0;
  const CodePoint first = readUtf8(text.at, text.at + text.length);
  return first.bytes > 0 && isSpace(first.code) ? static_cast<size_t>(first.bytes) : 0;
}

size_t spaceAtEnd(Text text) {
  for (size_t bytes = 1; bytes <= 3 && bytes <= text.length; ++bytes) {
    const Text last{text.at + text.length - bytes, bytes};
    if ((static_cast<uint8_t>(*last.at) & 0xC0) != 0x80) return spaceAt(last);
  }
  return 0;
}

/// As JavaScript's length.
size_t utf16Length(Text text) {
  size_t units = 0;
  for (size_t i = 0; i < text.length; ++i) {
    const uint8_t byte = static_cast<uint8_t>(text.at[i]);
    if ((byte & 0xC0) != 0x80) units += byte >= 0xF0 ? 2 : 1;
  }
  return units;
}

bool isOneWord(Text text) {
  Text rest = text;
  return takeWord(rest).length == text.length && !text.empty();
}

bool isGiven(Text value) { return !value.empty() && !value.is("null"); }

/// Reads the escapes of a JSON text where it stands: in the buffer that parseCommand was given to write to.
Text readInPlace(Text value) { return readJsonText(value, const_cast<char*>(value.at + 1)); }

bool isWordByte(uint8_t byte) { return isalnum(byte) || byte == '_'; }

/// How many bytes the first character takes, if it is one that may stand around a stop; 0 if not: ASCII and general
/// punctuation, controls, and what is no UTF-8.
size_t markAt(Text text) {
  if (text.empty() || spaceAt(text) > 0) return 0;
  const uint8_t byte = static_cast<uint8_t>(*text.at);
  if (byte < 0x80) return isWordByte(byte) ? 0 : 1;
  const CodePoint first = readUtf8(text.at, text.at + text.length);
  if (first.bytes == 0) return 1;
  const uint32_t code = first.code;
  const bool mark = (code > 0xA0 && code < 0xC0) || (code > 0x200A && code < 0x2070) || code == 0xFFFD;
  return mark ? static_cast<size_t>(first.bytes) : 0;
}

bool take(Text& text, const char* letters) {
  const size_t length = strlen(letters);
  if (text.length < length || strncasecmp(text.at, letters, length) != 0) return false;
  text = Text{text.at + length, text.length - length};
  return true;
}

bool isOneOf(char letter, const char* letters) { return memchr(letters, letter, strlen(letters)) != nullptr; }

bool takeOneOf(Text& text, const char* letters) {
  if (text.empty() || !isOneOf(*text.at, letters)) return false;
  text = Text{text.at + 1, text.length - 1};
  return true;
}

void takeMarks(Text& text) {
  for (size_t bytes; (bytes = markAt(text)) > 0;) text = Text{text.at + bytes, text.length - bytes};
}

/// The stop that a text means: `Stop`, `ALL-STOP`, `"stop!"`, `stop;`, `["stop"]`, `stop=1`; `text` becomes what follows
/// it. Empty where it means something else.
Text readStop(Text& text) {
  Text rest = text;
  takeMarks(rest);
  const bool all = take(rest, "all");
  if (all) takeOneOf(rest, "-_ ");
  if (!take(rest, "stop")) return Text{};
  if (!rest.empty() && (*rest.at == '=' || *rest.at == '\0')) {
    takeWord(rest);
  } else {
    takeMarks(rest);
    if (!rest.empty() && spaceAt(rest) == 0) return Text{};
  }
  text = trimmed(rest);
  return all ? Text{"all_stop", 8} : Text{"stop", 4};
}

/// What stands in the first field of what looks like JSON that may name the action.
Text actionField(Text text) {
  for (Text at = text; at.length > 1; at = Text{at.at + 1, at.length - 1}) {
    Text rest = at;
    if (!takeOneOf(rest, "\"' \t\r\n{,")) continue;
    if (!take(rest, "action") && !take(rest, "command") && !take(rest, "cmd")) continue;
    takeOneOf(rest, "\"'");
    while (takeOneOf(rest, " \t\r\n")) {}
    if (!takeOneOf(rest, ":=")) continue;
    while (takeOneOf(rest, " \t\r\n")) {}
    takeOneOf(rest, "\"'");
    size_t length = 0;
    while (length < rest.length && !isOneOf(rest.at[length], "\"'},]\r\n")) ++length;
    return trimmed(Text{rest.at, length});
  }
  return Text{};
}

/// What is wrong with the fields beside the action and its args; what is right goes into the command.
Refusal readRest(Text id, Text replyTo, Text expiresAt, Command& command) {
  Refusal fault = Refusal::None;
  // A board has no clock to hold it against; what is none is refused all the same.
  if (isGiven(expiresAt) && (!isJsonNumber(expiresAt) || !isfinite(readJsonNumber(expiresAt)))) {
    fault = Refusal::ExpiresAt;
  }
  if (isGiven(replyTo)) {
    if (isJsonText(replyTo)) command.replyTo = readInPlace(replyTo);
    else fault = Refusal::ReplyTo;
  }
  if (isGiven(id)) {
    if (isJsonText(id)) command.id = readInPlace(id);
    else fault = Refusal::Id;
    if (utf16Length(command.id) > MAX_COMMAND_ID_CHARS) {
      command.id = Text{};
      fault = Refusal::LongId;
    }
  }
  return fault;
}

Refusal parseJson(Text text, Command& command, Refusal& forgiven) {
  switch (checkJson(text)) {
    case JsonFault::NotJson:
      return Refusal::NotJson;
    case JsonFault::TooDeep:
      return Refusal::TooDeep;
    case JsonFault::None:
      break;
  }
  // Of two fields of one name the last one counts, as in JavaScript.
  Text action, args, id, replyTo, expiresAt;
  for (JsonMembers fields(text); fields.next();) {
    if (fields.named("action")) action = fields.value();
    if (fields.named("args")) args = fields.value();
    if (fields.named("id")) id = fields.value();
    if (fields.named("reply_to")) replyTo = fields.value();
    if (fields.named("expires_at")) expiresAt = fields.value();
  }
  if (action.empty()) return Refusal::NoAction;
  if (!isJsonText(action)) return Refusal::Action;
  command.action = trimmed(readInPlace(action));
  Text word = command.action;
  const Text stop = readStop(word);
  if (!stop.empty()) command.action = stop;
  else if (!isOneWord(command.action)) return Refusal::Action;
  const Refusal fault = readRest(id, replyTo, expiresAt, command);
  if (fault != Refusal::None && !command.stops()) return fault;
  forgiven = fault;
  if (isGiven(args)) {
    command.kind = ArgsKind::Json;
    command.args = args;
  }
  return Refusal::None;
}

/// As parseCommand, for what is a command as a whole.
Refusal parseWhole(char* payload, size_t length, Command& command, Refusal& forgiven) {
  if (length > MAX_COMMAND_BYTES) return Refusal::TooLong;
  if (!isUtf8(Text{payload, length})) return Refusal::NotUtf8;
  Text text = trimmed(Text{payload, length});
  if (text.empty()) return Refusal::Empty;
  if (text.at[0] == '{') return parseJson(text, command, forgiven);
  const Text stop = readStop(text);
  command.action = stop.empty() ? takeWord(text) : stop;
  command.args = text;
  command.kind = text.empty() ? ArgsKind::None : ArgsKind::Text;
  return Refusal::None;
}

}  // namespace

Text trimmed(Text text) {
  for (size_t bytes; (bytes = spaceAt(text)) > 0;) text = Text{text.at + bytes, text.length - bytes};
  for (size_t bytes; (bytes = spaceAtEnd(text)) > 0;) text.length -= bytes;
  return text;
}

Text takeWord(Text& text) {
  Text rest = text;
  while (!rest.empty() && spaceAt(rest) == 0) rest = Text{rest.at + 1, rest.length - 1};
  const Text word{text.at, text.length - rest.length};
  text = trimmed(rest);
  return word;
}

Refusal parseCommand(char* payload, size_t length, Command& command, Refusal& forgiven) {
  command = Command{};
  forgiven = Refusal::None;
  const Refusal refusal = parseWhole(payload, length, command, forgiven);
  if (refusal == Refusal::None) return refusal;
  // What would be refused and means a stop is one all the same.
  Text text = trimmed(Text{payload, length < MAX_COMMAND_BYTES ? length : MAX_COMMAND_BYTES});
  if (!text.empty() && *text.at == '{') text = actionField(text);
  command = Command{};
  command.action = readStop(text);
  if (command.action.empty()) return refusal;
  forgiven = refusal;
  return Refusal::None;
}

#define REFUSED "command refused: "

const char* faultIn(Refusal refusal) { return wordsFor(refusal) + sizeof REFUSED - 1; }

const char* wordsFor(Refusal refusal) {
  switch (refusal) {
    case Refusal::None:
      return "";
    case Refusal::TooLong:
      return "command refused: a command has at most 65536 bytes";
    case Refusal::NotUtf8:
      return "command refused: its bytes are not UTF-8 text";
    case Refusal::Empty:
      return "empty command refused: send an action, such as \"ping\"";
    case Refusal::NotJson:
      return "command refused: it starts with \"{\" but is not JSON; in a shell, put it in single quotes";
    case Refusal::TooDeep:
      return "command refused: it is nested more than 100 levels deep";
    case Refusal::NoAction:
      return "command refused: no \"action\" in it; write {\"action\": \"ping\"}";
    case Refusal::Action:
      return "command refused: \"action\": expected one word, such as \"ping\"; what follows it goes into \"args\"";
    case Refusal::Id:
      return REFUSED "\"id\": expected a text";
    case Refusal::LongId:
      return REFUSED "\"id\": expected 128 characters at most";
    case Refusal::ReplyTo:
      return REFUSED "\"reply_to\": expected a topic";
    case Refusal::ExpiresAt:
      return REFUSED "\"expires_at\": expected ms since 1970";
  }
  return "command refused";
}

namespace {

bool isDigit(char letter) { return letter >= '0' && letter <= '9'; }

/// A decimal number as a person writes it, as coerce.ts has it, at the start of `text`; how many letters it takes.
size_t numberLength(Text text) {
  size_t at = 0, digits = 0;
  const auto letter = [&](size_t i) { return i < text.length ? text.at[i] : '\0'; };
  if (letter(at) == '+' || letter(at) == '-') ++at;
  for (; isDigit(letter(at)); ++at) ++digits;
  if (letter(at) == '.') {
    for (++at; isDigit(letter(at)); ++at) ++digits;
  }
  if (digits == 0) return 0;
  if (letter(at) == 'e' || letter(at) == 'E') {
    size_t exponent = at + 1;
    if (letter(exponent) == '+' || letter(exponent) == '-') ++exponent;
    if (isDigit(letter(exponent))) {
      for (at = exponent; isDigit(letter(at));) ++at;
    }
  }
  return at;
}

double numberIn(Text text) {
  char digits[40];
  if (text.length >= sizeof digits) return NAN;
  text.copyTo(digits, sizeof digits);
  return strtod(digits, nullptr);
}

/// `5s`, `2min`, `1.5h`, `500ms`; NAN where it is none.
double durationIn(Text text) {
  const size_t length = numberLength(text);
  if (length == 0) return NAN;
  const double value = numberIn(Text{text.at, length});
  const Text unit = trimmed(Text{text.at + length, text.length - length});
  if (unit.empty() || unit.is("ms")) return value;
  if (unit.is("s")) return value * 1000;
  if (unit.is("min")) return value * 60000;
  if (unit.is("h")) return value * 3600000;
  return NAN;
}

/// Its place among `first|second`; NAN where it is none of them.
double placeAmong(const char* words, Text text) {
  Text choice;
  for (int place = 0; takeChoice(words, choice); ++place) {
    if (choice.length == text.length && memcmp(choice.at, text.at, text.length) == 0) return place;
  }
  return NAN;
}

/// One value, as text or as JSON; NAN where it doesn't fit.
double valueOf(const ArgSpec& spec, Text given, bool json) {
  char read[64];
  Text text = given;
  if (json && isJsonText(given)) {
    if (given.length > sizeof read || spec.kind == ArgSpec::Kind::Number) return NAN;
    text = readJsonText(given, read);
    // As in the schema of a duration: a JSON text has to name its unit.
    if (spec.kind == ArgSpec::Kind::Duration && numberLength(text) == text.length) return NAN;
  } else if (json) {
    if (spec.kind == ArgSpec::Kind::Word || !isJsonNumber(given)) return NAN;
    return readJsonNumber(given);
  }
  switch (spec.kind) {
    case ArgSpec::Kind::Word:
      return placeAmong(spec.words, text);
    case ArgSpec::Kind::Duration:
      return durationIn(text);
    case ArgSpec::Kind::Number:
      return numberLength(text) == text.length ? numberIn(text) : NAN;
  }
  return NAN;
}

struct Reader {
  const ArgSpec* specs;
  int count;
  double* values;
  char* why;
  size_t whySize;

  bool refuse(const ArgSpec& spec, Text given) const {
    char found[32];
    given.copyTo(found, sizeof found);
    if (spec.kind == ArgSpec::Kind::Word) {
      snprintf(why, whySize, "%s: expected %s, got %s", spec.name, spec.words, found);
    } else {
      snprintf(why, whySize, "%s: expected a number from %g to %g, got %s", spec.name, spec.least, spec.most, found);
    }
    return false;
  }

  bool take(int place, Text given, bool json) const {
    const ArgSpec& spec = specs[place];
    const double value = valueOf(spec, given, json);
    const bool fits = spec.kind == ArgSpec::Kind::Word ? !isnan(value) : value >= spec.least && value <= spec.most;
    if (!fits) return refuse(spec, given);
    values[place] = value;
    return true;
  }

  bool tooMany() const {
    snprintf(why, whySize, count == 0 ? "it takes no arguments" : "too many arguments: it takes %d", count);
    return false;
  }

  int placeOf(Text name) const {
    for (int i = 0; i < count; ++i) {
      if (name.is(specs[i].name)) return i;
    }
    return -1;
  }

  bool takeNamed(Text name, Text value) const {
    const int place = placeOf(name);
    if (place >= 0) return take(place, value, false);
    char found[32];
    name.copyTo(found, sizeof found);
    snprintf(why, whySize, "it has no argument %s; the first one is %s", found, count > 0 ? specs[0].name : "none");
    return false;
  }

  bool text(Text rest) const {
    for (int place = 0; !rest.empty(); ++place) {
      const Text given = takeWord(rest);
      const void* const equals = memchr(given.at, '=', given.length);
      if (equals != nullptr) {
        const size_t length = static_cast<size_t>(static_cast<const char*>(equals) - given.at);
        if (!takeNamed(Text{given.at, length}, Text{given.at + length + 1, given.length - length - 1})) return false;
      } else if (place >= count) {
        return tooMany();
      } else {
        // `2 min` is one value, where only one may stand there.
        const bool whole = count == 1 && !rest.empty();
        const Text value = whole ? Text{given.at, static_cast<size_t>(rest.at + rest.length - given.at)} : given;
        if (!take(place, value, false)) return false;
        if (whole) return true;
      }
    }
    return true;
  }

  bool json(Text given) const {
    if (isJsonObject(given)) {
      for (JsonMembers fields(given); fields.next();) {
        int place = -1;
        for (int i = 0; i < count; ++i) {
          if (fields.named(specs[i].name)) place = i;
        }
        if (place < 0) {
          snprintf(why, whySize, "it has an argument too many; known: %s", count > 0 ? specs[0].name : "none");
          return false;
        }
        if (!take(place, fields.value(), true)) return false;
      }
      return true;
    }
    if (isJsonList(given)) {
      int place = 0;
      for (JsonMembers items(given); items.next(); ++place) {
        if (place >= count) return tooMany();
        if (!take(place, items.value(), true)) return false;
      }
      return true;
    }
    return count == 0 ? tooMany() : take(0, given, true);
  }
};

}  // namespace

bool takeChoice(const char*& words, Text& choice) {
  if (*words == '\0') return false;
  const char* const bar = strchr(words, '|');
  choice = Text{words, bar == nullptr ? strlen(words) : static_cast<size_t>(bar - words)};
  words += choice.length + (bar == nullptr ? 0 : 1);
  return true;
}

bool readArgs(const Command& command, const ArgSpec* specs, int count, double* values, char* why, size_t whySize) {
  for (int i = 0; i < count; ++i) values[i] = specs[i].otherwise;
  const Reader reader{specs, count, values, why, whySize};
  const Text args = command.args;
  bool well = true;
  if (command.kind == ArgsKind::Json) {
    well = reader.json(args);
  } else if (command.kind == ArgsKind::Text) {
    // As the server's side: JSON may follow the action too.
    const bool json = args.at[0] == '{' || args.at[0] == '[';
    well = json && checkJson(args) == JsonFault::None ? reader.json(args) : reader.text(args);
  }
  if (!well) return false;
  for (int i = 0; i < count; ++i) {
    if (!isnan(values[i])) continue;
    snprintf(why, whySize, "%s is missing", specs[i].name);
    return false;
  }
  return true;
}

}  // namespace prop
