#include "prop_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace prop {

bool Text::is(const char* other) const { return strlen(other) == length && (length == 0 || memcmp(at, other, length) == 0); }

void Text::copyTo(char* to, size_t size) const {
  size_t count = length < size ? length : size - 1;
  while (count < length && count > 0 && (static_cast<uint8_t>(at[count]) & 0xC0) == 0x80) --count;
  if (count > 0) memcpy(to, at, count);
  to[count] = '\0';
}

namespace {

bool isSpace(char letter) { return letter == ' ' || letter == '\t' || letter == '\n' || letter == '\r'; }
bool isDigit(char letter) { return letter >= '0' && letter <= '9'; }

int hexOf(char letter) {
  if (isDigit(letter)) return letter - '0';
  if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
  if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
  return -1;
}

/// Goes through JSON without reading its values.
struct Scanner {
  const char* at;
  const char* end;

  void spaces() {
    while (at < end && isSpace(*at)) ++at;
  }

  bool take(char letter) {
    if (at == end || *at != letter) return false;
    ++at;
    return true;
  }

  bool word(const char* letters) {
    for (; *letters != '\0'; ++letters) {
      if (!take(*letters)) return false;
    }
    return true;
  }

  bool digits() {
    if (at == end || !isDigit(*at)) return false;
    while (at < end && isDigit(*at)) ++at;
    return true;
  }

  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (at < end && (*at == 'e' || *at == 'E')) {
      ++at;
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }

  bool escape() {
    if (at == end) return false;
    const char letter = *at++;
    if (letter != 'u') return strchr("\"\\/bfnrt", letter) != nullptr && letter != '\0';
    for (int i = 0; i < 4; ++i) {
      if (at == end || hexOf(*at++) < 0) return false;
    }
    return true;
  }

  bool text() {
    if (!take('"')) return false;
    while (at < end) {
      const char letter = *at++;
      if (letter == '"') return true;
      if (static_cast<uint8_t>(letter) < 0x20) return false;
      if (letter == '\\' && !escape()) return false;
    }
    return false;
  }

  bool name() {
    spaces();
    if (!text()) return false;
    spaces();
    return take(':');
  }

  bool plain() {
    if (at == end) return false;
    switch (*at) {
      case '"':
        return text();
      case 't':
        return word("true");
      case 'f':
        return word("false");
      case 'n':
        return word("null");
      default:
        return number();
    }
  }

  JsonFault value() {
    bool object[MOST_JSON_LEVELS];
    int level = 0;
    for (;;) {
      spaces();
      const bool opensObject = at < end && *at == '{';
      if (opensObject || (at < end && *at == '[')) {
        if (level == MOST_JSON_LEVELS) return JsonFault::TooDeep;
        object[level++] = opensObject;
        ++at;
        spaces();
        if (at == end || *at != (opensObject ? '}' : ']')) {
          if (opensObject && !name()) return JsonFault::NotJson;
          continue;
        }
      } else if (!plain()) {
        return JsonFault::NotJson;
      }
      for (;;) {
        if (level == 0) return JsonFault::None;
        spaces();
        if (take(',')) {
          if (object[level - 1] && !name()) return JsonFault::NotJson;
          break;
        }
        if (!take(object[level - 1] ? '}' : ']')) return JsonFault::NotJson;
        --level;
      }
    }
  }
};

char* putUtf8(char* to, uint32_t code) {
  if (code < 0x80) {
    *to++ = static_cast<char>(code);
  } else if (code < 0x800) {
    *to++ = static_cast<char>(0xC0 | (code >> 6));
    *to++ = static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    *to++ = static_cast<char>(0xE0 | (code >> 12));
    *to++ = static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *to++ = static_cast<char>(0x80 | (code & 0x3F));
  } else {
    *to++ = static_cast<char>(0xF0 | (code >> 18));
    *to++ = static_cast<char>(0x80 | ((code >> 12) & 0x3F));
    *to++ = static_cast<char>(0x80 | ((code >> 6) & 0x3F));
    *to++ = static_cast<char>(0x80 | (code & 0x3F));
  }
  return to;
}

uint32_t readHex(const char* at) {
  uint32_t code = 0;
  for (int i = 0; i < 4; ++i) code = code << 4 | static_cast<uint32_t>(hexOf(at[i]));
  return code;
}

}  // namespace

JsonFault checkJson(Text text) {
  Scanner scanner{text.at, text.at + text.length};
  const JsonFault fault = scanner.value();
  if (fault != JsonFault::None) return fault;
  scanner.spaces();
  return scanner.at == scanner.end ? JsonFault::None : JsonFault::NotJson;
}

JsonMembers::JsonMembers(Text of) : at_(of.at + 1), end_(of.at + of.length), fields_(isJsonObject(of)) {}

bool JsonMembers::next() {
  Scanner scanner{at_, end_};
  scanner.spaces();
  scanner.take(',');
  scanner.spaces();
  if (scanner.at == end_ || *scanner.at == '}' || *scanner.at == ']') return false;
  if (fields_) {
    name_.at = scanner.at;
    scanner.text();
    name_.length = static_cast<size_t>(scanner.at - name_.at);
    scanner.spaces();
    scanner.take(':');
    scanner.spaces();
  }
  value_.at = scanner.at;
  scanner.value();
  value_.length = static_cast<size_t>(scanner.at - value_.at);
  at_ = scanner.at;
  return true;
}

bool JsonMembers::named(const char* name) const {
  char read[6 * 32];
  // Each letter of a name of ours takes six at most: \u0061.
  if (name_.length > sizeof read) return false;
  return readJsonText(name_, read).is(name);
}

bool isJsonNumber(Text value) { return value.length > 0 && (value.at[0] == '-' || isDigit(value.at[0])); }

Text readJsonText(Text value, char* to) {
  char* const begin = to;
  const char* at = value.at + 1;
  const char* const end = value.at + value.length - 1;
  while (at < end) {
    if (*at != '\\') {
      *to++ = *at++;
      continue;
    }
    ++at;
    const char letter = *at++;
    switch (letter) {
      case 'b':
        *to++ = '\b';
        break;
      case 'f':
        *to++ = '\f';
        break;
      case 'n':
        *to++ = '\n';
        break;
      case 'r':
        *to++ = '\r';
        break;
      case 't':
        *to++ = '\t';
        break;
      case 'u': {
        uint32_t code = readHex(at);
        at += 4;
        if (code >= 0xD800 && code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
          const uint32_t low = readHex(at + 2);
          if (low >= 0xDC00 && low < 0xE000) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            at += 6;
          }
        }
        if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;
        to = putUtf8(to, code);
        break;
      }
      default:
        *to++ = letter;
    }
  }
  return Text{begin, static_cast<size_t>(to - begin)};
}

double readJsonNumber(Text value) {
  char digits[64];
  if (value.length < sizeof digits) {
    value.copyTo(digits, sizeof digits);
    return strtod(digits, nullptr);
  }
  // A number so long is followed by what is none: a bracket, a comma or a space.
  return strtod(value.at, nullptr);
}

JsonWriter::JsonWriter(char* to, size_t size) : to_(to), size_(size) { to_[0] = '\0'; }

void JsonWriter::put(char letter) {
  if (length_ + 1 >= size_) {
    whole_ = false;
    return;
  }
  to_[length_++] = letter;
  to_[length_] = '\0';
}

void JsonWriter::put(const char* letters) {
  for (; *letters != '\0'; ++letters) put(*letters);
}

void JsonWriter::quoted(Text value) {
  put('"');
  for (size_t i = 0; i < value.length; ++i) {
    const char letter = value.at[i];
    if (letter == '"' || letter == '\\') {
      put('\\');
      put(letter);
    } else if (static_cast<uint8_t>(letter) < 0x20) {
      char escaped[7];
      snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(letter));
      put(escaped);
    } else {
      put(letter);
    }
  }
  put('"');
}

void JsonWriter::begin(const char* name) {
  if (!first_) put(',');
  first_ = false;
  if (name == nullptr) return;
  quoted(Text{name, strlen(name)});
  put(':');
}

JsonWriter& JsonWriter::open(char bracket, const char* name) {
  begin(name);
  put(bracket);
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  put(bracket);
  first_ = false;
  return *this;
}

JsonWriter& JsonWriter::text(const char* name, const char* value) { return text(name, Text{value, strlen(value)}); }

JsonWriter& JsonWriter::text(const char* name, Text value) {
  begin(name);
  quoted(value);
  return *this;
}

JsonWriter& JsonWriter::number(const char* name, double value) {
  begin(name);
  char digits[32];
  if (isfinite(value)) {
    snprintf(digits, sizeof digits, "%.10g", value);
    put(digits);
  } else {
    put("null");
  }
  return *this;
}

JsonWriter& JsonWriter::boolean(const char* name, bool value) {
  begin(name);
  put(value ? "true" : "false");
  return *this;
}

}  // namespace prop
