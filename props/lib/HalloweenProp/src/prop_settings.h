// What a board has to know before it can connect, kept in NVS, and a menu on the serial port to set it.
#pragma once

#include <stddef.h>

namespace prop {

/// What a sketch's secrets.h may say; what is in NVS comes before it.
struct Secrets {
  const char* wifiName = "";
  const char* wifiPassword = "";
  /// `haunt.local`, `192.168.1.10`, `haunt.local:1883`, or with TLS `mqtts://haunt.local:8883`.
  const char* broker = "";
  const char* user = "";
  const char* password = "";
  /// PEM, of the authority that signed the broker's certificate. Has to be there for mqtts.
  const char* ca = "";
};

struct Settings {
  char wifiName[33] = "";
  char wifiPassword[65] = "";
  char broker[129] = "";
  char user[65] = "";
  char password[129] = "";
  char ca[2500] = "";
  char prefix[65] = "halloween";
  char id[65] = "";

  void load(const char* defaultId, const Secrets& secrets);
  void save() const;
  /// Keeps another id for the next start, and all else as it is.
  static void saveId(const char* id);
};

/// Why `id` can't be a board's, in words; nullptr where it can.
const char* faultOfId(const char* id);

/// A menu, for whoever opens the serial monitor and presses Enter.
class Menu {
 public:
  using Print = void (*)(const char* text);
  Menu(Settings& settings, Print print) : settings_(settings), print_(print) {}
  /// Takes what was typed, letter by letter; whether the board is to restart, with new settings.
  bool type(char letter);

 private:
  bool enter();
  void show();
  void ask(int item);
  bool answer();

  Settings& settings_;
  const Print print_;
  Settings draft_;
  char line_[2500] = "";
  size_t length_ = 0;
  int asked_ = -1;
  bool open_ = false;
  bool pem_ = false;
  bool afterReturn_ = false;
};

}  // namespace prop
