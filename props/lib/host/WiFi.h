#pragma once
typedef enum { WL_IDLE_STATUS = 0, WL_CONNECTED = 3, WL_DISCONNECTED = 6 } wl_status_t;
#define WIFI_STA 1
class WiFiClass {
 public:
  void mode(int) {}
  void setHostname(const char*) {}
  void setSleep(bool) {}
  void setAutoReconnect(bool) {}
  void begin(const char*, const char*) {}
  wl_status_t status();
  int RSSI() { return -50; }
};
extern WiFiClass WiFi;
