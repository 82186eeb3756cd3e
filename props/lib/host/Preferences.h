// NVS: one file a key, under HOST_NVS.
#pragma once
#include <stddef.h>

#include <string>
class Preferences {
 public:
  bool begin(const char* space, bool readOnly);
  void end() {}
  bool isKey(const char* key);
  size_t getString(const char* key, char* value, size_t size);
  size_t putString(const char* key, const char* value);
  bool getBool(const char* key, bool otherwise);
  size_t putBool(const char* key, bool value);

 private:
  std::string folder_;
};
