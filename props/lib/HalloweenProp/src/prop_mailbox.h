// Between the task that receives and the loop that acts: a bounded box of commands, and the latches beside it, so that no
// flood of commands keeps a stop from the loop.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <mutex>

#include "prop_json.h"

namespace prop {

/// A longer command is refused; the server's side allows more, but a board has little memory.
constexpr size_t MAX_PAYLOAD_BYTES = 1024;

/// A message as it came.
struct Letter {
  enum class Kind : uint8_t { Command, Retained, TooLong, OthersStop };
  Kind kind = Kind::Command;
  /// A stop came after it, before the loop got to it.
  bool overtaken = false;
  uint32_t at = 0;
  size_t length = 0;
  char payload[MAX_PAYLOAD_BYTES];
};

class Mailbox {
 public:
  /// From the receiving task. `stop`: it is one, and overtakes what is there.
  void put(Letter::Kind kind, Text payload, uint32_t now, bool stop);
  /// `all` is the length of what the sender published.
  void putTooLong(size_t all, uint32_t now);
  void allStop(Text host, bool engaged);
  void lockOut(Text reason);

  /// From the loop. Whether there was one.
  bool take(Letter& letter);
  /// Whether a stop came since this was last asked.
  bool takeStop() { return stop_.exchange(false); }
  /// How many commands found the box full since this was last asked.
  uint32_t takeDropped() { return dropped_.exchange(0); }
  bool isAllStop() const { return allStop_.load(); }
  bool isLockedOut() const { return lockedOut_.load(); }

 private:
  static constexpr int COUNT = 16, MOST_HOSTS = 4;

  std::mutex mutex_;
  Letter letters_[COUNT];
  int first_ = 0, count_ = 0;
  /// The last stop that found the box full.
  Letter extra_;
  bool hasExtra_ = false;
  std::atomic<bool> stop_{false};
  std::atomic<bool> allStop_{false};
  std::atomic<bool> lockedOut_{false};
  std::atomic<uint32_t> dropped_{0};
  /// The hosts whose latch is engaged, each by the hash of its name; 0 is a free place.
  uint32_t engaged_[MOST_HOSTS] = {};
  bool moreEngaged_ = false;
};

}  // namespace prop
