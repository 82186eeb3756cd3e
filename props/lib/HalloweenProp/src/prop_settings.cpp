#include "prop_settings.h"

#include <Preferences.h>
#include <stdio.h>
#include <string.h>

namespace prop {

namespace {

constexpr const char* SPACE = "halloween";

struct Item {
  const char* key;
  const char* label;
  const char* question;
  size_t offset;
  size_t size;
  bool secret;
};

#define ITEM(field) offsetof(Settings, field), sizeof(Settings::field)
constexpr Item ITEMS[] = {
    {"wifi_name", "WiFi name", "The WiFi's name", ITEM(wifiName), false},
    {"wifi_password", "WiFi password", "The WiFi's password; empty for none", ITEM(wifiPassword), true},
    {"broker", "broker", "The broker: haunt.local, 192.168.1.10:1883 or mqtts://haunt.local:8883", ITEM(broker), false},
    {"user", "user", "The user name for the broker; empty for none", ITEM(user), false},
    {"password", "password", "The password for the broker", ITEM(password), true},
    {"ca", "CA", "The authority's certificate for mqtts: paste all of the PEM; empty for none", ITEM(ca), false},
    {"prefix", "prefix", "What all topics start with, such as halloween", ITEM(prefix), false},
    {"id", "id", "The board's id, such as fogger_hw", ITEM(id), false},
};
#undef ITEM
constexpr int COUNT = sizeof ITEMS / sizeof ITEMS[0];
constexpr int CA = 5, PREFIX = 6, ID = 7;

char* valueIn(Settings& settings, const Item& item) { return reinterpret_cast<char*>(&settings) + item.offset; }

const char* valueIn(const Settings& settings, const Item& item) {
  return reinterpret_cast<const char*>(&settings) + item.offset;
}

void copy(char* to, size_t size, const char* from) { snprintf(to, size, "%s", from); }

const char* faultOfPrefix(const char* prefix) {
  if (prefix[0] == '\0') return "it is empty";
  if (strpbrk(prefix, "+#$ ") != nullptr) return "\"+\", \"#\", \"$\" and spaces can't be in it";
  const size_t length = strlen(prefix);
  if (prefix[0] == '/' || prefix[length - 1] == '/' || strstr(prefix, "//") != nullptr) return "a level of it is empty";
  return nullptr;
}

}  // namespace

const char* faultOfId(const char* id) {
  const size_t length = strlen(id);
  if (length == 0 || length > 64) return "an id has 1 to 64 characters";
  if (strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != length) {
    return "an id has letters, digits, \"_\" and \"-\" only, such as fogger_hw";
  }
  for (const char* reserved : {"worker_host", "broadcast", "cli"}) {
    if (strcmp(id, reserved) == 0) return "this id is reserved";
  }
  return nullptr;
}

void Settings::load(const char* defaultId, const Secrets& secrets) {
  copy(wifiName, sizeof wifiName, secrets.wifiName);
  copy(wifiPassword, sizeof wifiPassword, secrets.wifiPassword);
  copy(broker, sizeof broker, secrets.broker);
  copy(user, sizeof user, secrets.user);
  copy(password, sizeof password, secrets.password);
  copy(ca, sizeof ca, secrets.ca);
  copy(id, sizeof id, defaultId);
  Preferences stored;
  // Read-only; false where nothing was ever stored.
  if (!stored.begin(SPACE, true)) return;
  for (const Item& item : ITEMS) {
    if (stored.isKey(item.key)) stored.getString(item.key, valueIn(*this, item), item.size);
  }
  stored.end();
  if (faultOfId(id) != nullptr) copy(id, sizeof id, defaultId);
  if (faultOfPrefix(prefix) != nullptr) copy(prefix, sizeof prefix, "halloween");
}

void Settings::save() const {
  Preferences stored;
  stored.begin(SPACE, false);
  for (const Item& item : ITEMS) stored.putString(item.key, valueIn(*this, item));
  stored.end();
}

void Settings::saveId(const char* id) {
  Preferences stored;
  stored.begin(SPACE, false);
  stored.putString("id", id);
  stored.end();
}

bool Menu::type(char letter) {
  if (letter != '\n' && letter != '\r') {
    afterReturn_ = false;
    if (length_ + 1 < sizeof line_) line_[length_++] = letter;
    return false;
  }
  // A terminal may send both.
  const bool second = letter == '\n' && afterReturn_;
  afterReturn_ = letter == '\r';
  if (second) return false;
  line_[length_] = '\0';
  const bool more = pem_ && length_ > 0 && strstr(line_, "-----END CERTIFICATE-----") == nullptr;
  if (more) {
    if (length_ + 1 < sizeof line_) line_[length_++] = '\n';
    return false;
  }
  const bool restart = enter();
  length_ = 0;
  return restart;
}

void Menu::show() {
  char text[256];
  print_("\n");
  for (int i = 0; i < COUNT; ++i) {
    const char* const value = valueIn(draft_, ITEMS[i]);
    const bool hidden = ITEMS[i].secret || i == CA;
    const char* const shown = value[0] == '\0' ? "-" : hidden ? "(set)" : value;
    snprintf(text, sizeof text, " %d  %-14s %s\n", i + 1, ITEMS[i].label, shown);
    print_(text);
  }
  print_(" s  save and restart\n q  leave, and change nothing\nWhich one? ");
}

void Menu::ask(int item) {
  asked_ = item;
  pem_ = item == CA;
  print_(ITEMS[item].question);
  print_(": ");
}

bool Menu::enter() {
  if (asked_ >= 0) return answer();
  if (!open_) {
    open_ = true;
    draft_ = settings_;
    show();
    return false;
  }
  const int number = line_[0] - '0';
  if (length_ == 1 && number >= 1 && number <= COUNT) {
    ask(number - 1);
  } else if (strcmp(line_, "s") == 0) {
    settings_ = draft_;
    settings_.save();
    print_("saved; restarting\n");
    return true;
  } else if (strcmp(line_, "q") == 0) {
    open_ = false;
    print_("nothing was changed\n");
  } else {
    show();
  }
  return false;
}

bool Menu::answer() {
  const Item& item = ITEMS[asked_];
  const char* fault = nullptr;
  if (asked_ == ID) fault = faultOfId(line_);
  if (asked_ == PREFIX) fault = faultOfPrefix(line_);
  if (strlen(line_) >= item.size) fault = "it is too long";
  if (fault == nullptr) {
    copy(valueIn(draft_, item), item.size, line_);
  } else {
    print_("not taken: ");
    print_(fault);
    print_("\n");
  }
  asked_ = -1;
  pem_ = false;
  show();
  return false;
}

}  // namespace prop
