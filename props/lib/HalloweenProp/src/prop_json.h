// JSON as RFC 8259 has it and as JSON.parse of the server's side takes it, read in place: nothing is allocated.
// cJSON, which is in the core, takes "01", control characters in texts and keys in another case, and of two equal keys
// the first: a board and its worker would then read one command in two ways.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace prop {

/// A piece of somebody else's buffer. It may contain any byte, NUL too.
struct Text {
  const char* at = nullptr;
  size_t length = 0;

  bool is(const char* other) const;
  bool empty() const { return length == 0; }
  /// Copies as much as fits, cut before a UTF-8 character that doesn't, with a NUL at the end.
  void copyTo(char* to, size_t size) const;
};

enum class JsonFault : uint8_t { None, NotJson, TooDeep };

/// Objects and lists nested more deeply than this are refused, as in contract/depth.ts.
constexpr int MOST_JSON_LEVELS = 100;

/// Whether `text` is one JSON value with nothing but spaces around it.
JsonFault checkJson(Text text);

/// The fields of an object, or the items of a list, that `checkJson` found to be well.
class JsonMembers {
 public:
  explicit JsonMembers(Text of);
  /// Goes to the next one; false where there is none.
  bool next();
  /// Whether the field's name, its escapes read, is `name`. Of no use for a list.
  bool named(const char* name) const;
  /// As it was written, without spaces around it.
  Text value() const { return value_; }

 private:
  const char* at_;
  const char* end_;
  bool fields_;
  Text name_;
  Text value_;
};

inline bool isJsonText(Text value) { return value.length >= 2 && value.at[0] == '"'; }
inline bool isJsonObject(Text value) { return value.length >= 2 && value.at[0] == '{'; }
inline bool isJsonList(Text value) { return value.length >= 2 && value.at[0] == '['; }
bool isJsonNumber(Text value);

/// Reads the escapes of a JSON text, written with its quotes, into `to`, which may be where it stands: what comes out is
/// never longer. Half of a surrogate pair becomes U+FFFD. Gives the text without a NUL at its end.
Text readJsonText(Text value, char* to);

/// A number; infinite where it is too large for one.
double readJsonNumber(Text value);

/// Writes JSON into a buffer of fixed size.
class JsonWriter {
 public:
  JsonWriter(char* to, size_t size);
  JsonWriter& open(char bracket, const char* name = nullptr);
  JsonWriter& close(char bracket);
  JsonWriter& text(const char* name, const char* value);
  JsonWriter& text(const char* name, Text value);
  JsonWriter& number(const char* name, double value);
  JsonWriter& boolean(const char* name, bool value);
  /// Whether all of it fitted; otherwise the buffer holds no JSON.
  bool whole() const { return whole_; }
  size_t length() const { return length_; }

 private:
  void put(char letter);
  void put(const char* letters);
  void begin(const char* name);
  void quoted(Text value);

  char* to_;
  size_t size_;
  size_t length_ = 0;
  bool whole_ = true;
  bool first_ = true;
};

}  // namespace prop
