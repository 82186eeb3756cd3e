// Reads commands, one in each line in hexadecimal, and says how the board reads them, one line of JSON for each.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "prop_command.h"

namespace {

constexpr const char* REFUSALS[] = {"",       "too_long",  "not_utf8", "empty",   "not_json", "too_deep",
                                    "no_action", "action", "id",       "long_id", "reply_to", "expires_at"};

std::string hexOf(prop::Text text) {
  std::string hex;
  char two[3];
  for (size_t i = 0; i < text.length; ++i) {
    snprintf(two, sizeof two, "%02x", static_cast<uint8_t>(text.at[i]));
    hex += two;
  }
  return '"' + hex + '"';
}

void read(const std::string& line) {
  const size_t length = line.size() / 2;
  // Exactly as long as the payload, for the sanitizers to see what is read beyond it.
  char* const payload = new char[length];
  for (size_t i = 0; i < length; ++i) {
    payload[i] = static_cast<char>(strtol(line.substr(2 * i, 2).c_str(), nullptr, 16));
  }
  prop::Command command;
  const prop::Refusal refusal = prop::parseCommand(payload, length, command);
  if (refusal != prop::Refusal::None) {
    printf("{\"refused\":\"%s\"}\n", REFUSALS[static_cast<int>(refusal)]);
  } else {
    const char* const kinds[] = {"none", "text", "json"};
    printf("{\"action\":%s,\"kind\":\"%s\",\"args\":%s,\"id\":%s,\"reply_to\":%s}\n", hexOf(command.action).c_str(),
           kinds[static_cast<int>(command.kind)], hexOf(command.args).c_str(), hexOf(command.id).c_str(),
           hexOf(command.replyTo).c_str());
  }
  delete[] payload;
}

}  // namespace

int main() {
  std::string line;
  for (int letter; (letter = getchar()) != EOF;) {
    if (letter != '\n') {
      line += static_cast<char>(letter);
    } else {
      read(line);
      line.clear();
    }
  }
}
