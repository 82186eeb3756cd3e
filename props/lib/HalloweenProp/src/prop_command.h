// Commands as contract/command.ts of the server's side reads them: text, `action` or `action rest of line`, or a JSON
// object. test/firmware/vectors holds the two to each other.
#pragma once

#include "prop_json.h"

namespace prop {

/// A longer command is refused.
constexpr size_t MAX_COMMAND_BYTES = 65536;
/// A command with a longer `id` is refused; in UTF-16 units, as JavaScript counts them.
constexpr size_t MAX_COMMAND_ID_CHARS = 128;

enum class ArgsKind : uint8_t { None, Text, Json };

/// What somebody asks the board to do. All of it stands in the buffer that was parsed.
struct Command {
  Text action;
  ArgsKind kind = ArgsKind::None;
  /// The rest of the line, or JSON as it was written.
  Text args;
  Text id;
  Text replyTo;
  /// Whether it is `stop`, or `all_stop`, which stops a board just so.
  bool stops() const { return action.is("stop") || action.is("all_stop"); }
};

enum class Refusal : uint8_t {
  None,
  TooLong,
  NotUtf8,
  Empty,
  NotJson,
  TooDeep,
  NoAction,
  Action,
  Id,
  LongId,
  ReplyTo,
  ExpiresAt,
};

/// Reads a command, and writes over the buffer in doing so. Whatever the bytes, it reads none beyond them. A stop is one
/// however it is spelled, and forgives what it doesn't need: `forgiven` is what was wrong with it.
Refusal parseCommand(char* payload, size_t length, Command& command, Refusal& forgiven);

/// As above, for whoever doesn't tell what was forgiven.
inline Refusal parseCommand(char* payload, size_t length, Command& command) {
  Refusal forgiven;
  return parseCommand(payload, length, command, forgiven);
}

/// Why there is no command, in words for its sender.
const char* wordsFor(Refusal refusal);

/// What is wrong with a field beside the action: the words above without "command refused: ".
const char* faultIn(Refusal refusal);

/// Takes off the spaces around a text, in the sense of JavaScript's trim().
Text trimmed(Text text);

/// Splits off the first word, up to a space in that sense; `text` becomes the rest of it, trimmed.
Text takeWord(Text& text);

/// What an argument may be.
struct ArgSpec {
  enum class Kind : uint8_t { Number, Duration, Word };
  const char* name;
  Kind kind;
  double least;
  double most;
  /// Taken where the sender names none. NAN: it has to be named.
  double otherwise;
  /// For a word: those that may stand there, with "|" between them; its value is its place among them.
  const char* words;
};

/// A number from `least` to `most`.
constexpr ArgSpec number(const char* name, double least, double most, double otherwise) {
  return {name, ArgSpec::Kind::Number, least, most, otherwise, nullptr};
}

/// A time in ms: `500`, `5s`, `2min`, `1.5h`.
constexpr ArgSpec duration(const char* name, double least, double most, double otherwise) {
  return {name, ArgSpec::Kind::Duration, least, most, otherwise, nullptr};
}

/// One of some words: `oneOf("mode", "ready|off", 0)`.
constexpr ArgSpec oneOf(const char* name, const char* words, double otherwise) {
  return {name, ArgSpec::Kind::Word, 0, 0, otherwise, words};
}

/// Splits off the first of some words with "|" between them; false where there is none left.
bool takeChoice(const char*& words, Text& choice);

/// A command has no more arguments than this.
constexpr int MOST_ARGS = 3;

/// Reads the arguments of a command: `1500 80`, `ms=1500 level=80`, or in JSON a value, a list or an object. Gives false
/// with `why` in words where they don't fit.
bool readArgs(const Command& command, const ArgSpec* specs, int count, double* values, char* why, size_t whySize);

}  // namespace prop
