#pragma once
#include "IPAddress.h"
/// Finds the names in HOST_MDNS, such as "haunt=127.0.0.1": a container has no multicast.
class MDNSResponder {
 public:
  bool begin(const char*) { return true; }
  IPAddress queryHost(const char* name, uint32_t timeoutMs = 2000);
};
extern MDNSResponder MDNS;
