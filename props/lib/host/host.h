// What the parts of the Linux platform share.
#pragma once

#include <stdint.h>

#include <atomic>
#include <string>

namespace host {

/// Faults to try, set on stdin.
struct Faults {
  std::atomic<bool> hang{false};
  std::atomic<bool> wifi{true};
  std::atomic<bool> timers{true};
  std::atomic<bool> watchdog{true};
  std::atomic<uint32_t> publishStallMs{0};
};
extern Faults faults;

/// Writes one line of JSON, `{"ms": …, <fields>}`.
void trace(const std::string& fields);
std::string quoted(const std::string& text);
/// Starts the program anew, as a chip does: all that it had is gone, and its pins float. `reason` is esp_reset_reason()'s.
[[noreturn]] void reset(const char* reason);
void startTimers();
void startWatchdog();
/// Puts what the environment says into NVS, as if somebody had typed it into the menu.
void provision();
uint64_t nowUs();

}  // namespace host
