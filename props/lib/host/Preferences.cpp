#include "Preferences.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "host.h"

namespace {

std::string root() {
  const char* const path = getenv("HOST_NVS");
  return path == nullptr ? "" : path;
}

/// Without HOST_NVS it is kept while the program runs, over its resets: in the environment.
std::string nameOf(const std::string& folder, const char* key) {
  return root().empty() ? "HOST_NVS_" + folder + "_" + key : root() + "/" + folder + "." + key;
}

}  // namespace

bool Preferences::begin(const char* space, bool) {
  folder_ = space;
  if (!root().empty()) mkdir(root().c_str(), 0755);
  return true;
}

bool Preferences::isKey(const char* key) {
  const std::string name = nameOf(folder_, key);
  struct stat found;
  return root().empty() ? getenv(name.c_str()) != nullptr : stat(name.c_str(), &found) == 0;
}

size_t Preferences::getString(const char* key, char* value, size_t size) {
  const std::string name = nameOf(folder_, key);
  value[0] = '\0';
  if (root().empty()) {
    const char* const kept = getenv(name.c_str());
    if (kept != nullptr) snprintf(value, size, "%s", kept);
  } else if (FILE* const file = fopen(name.c_str(), "r")) {
    const size_t length = fread(value, 1, size - 1, file);
    value[length] = '\0';
    fclose(file);
  }
  return std::string(value).size();
}

size_t Preferences::putString(const char* key, const char* value) {
  const std::string name = nameOf(folder_, key);
  if (root().empty()) {
    setenv(name.c_str(), value, 1);
  } else if (FILE* const file = fopen(name.c_str(), "w")) {
    fputs(value, file);
    fclose(file);
  }
  return std::string(value).size();
}

bool Preferences::getBool(const char* key, bool otherwise) {
  if (!isKey(key)) return otherwise;
  char value[8];
  getString(key, value, sizeof value);
  return value[0] == '1';
}

size_t Preferences::putBool(const char* key, bool value) { return putString(key, value ? "1" : "0"); }

void host::provision() {
  Preferences settings;
  settings.begin("halloween", false);
  const auto put = [&](const char* name, const char* key) {
    const char* const value = getenv(name);
    if (value != nullptr) settings.putString(key, value);
  };
  const char* const broker = getenv("MQTT_HOST");
  const char* const port = getenv("MQTT_PORT");
  if (broker != nullptr) {
    settings.putString("broker", (std::string(broker) + ":" + (port == nullptr ? "1883" : port)).c_str());
  }
  put("MQTT_URL", "broker");
  put("MQTT_USERNAME", "user");
  put("MQTT_PASSWORD", "password");
  put("MQTT_PREFIX", "prefix");
  put("PROP_ID", "id");
  const char* const ca = getenv("MQTT_CA");
  if (FILE* const file = ca == nullptr ? nullptr : fopen(ca, "r")) {
    char text[4096];
    const size_t length = fread(text, 1, sizeof text - 1, file);
    text[length] = '\0';
    fclose(file);
    settings.putString("ca", text);
  }
}
