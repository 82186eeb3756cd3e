// What a board needs that has nothing to do with a board: outputs that go off, inputs that don't bounce, waits that grow.
// Portable; every call takes `now`, a millis() that may wrap.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <mutex>

namespace prop {

/// Whether `now` is at or past `time`, over the wrap of millis() after 49.7 days.
inline bool reached(uint32_t now, uint32_t time) { return static_cast<int32_t>(now - time) >= 0; }

/// What an output may do, in ms. 0: no limit of that kind; `maxOnMs` there has to be.
struct Limits {
  uint32_t maxOnMs;
  /// So long after it went off it stays off.
  uint32_t cooldownMs = 0;
  /// At most `dutyMs` in any `windowMs`.
  uint32_t dutyMs = 0;
  uint32_t windowMs = 0;
};

/// An output that goes off by itself. `tick`, from the loop, ends what was started; where the loop hangs, `cutOff` does,
/// from a timer that runs apart from it.
class GuardedOutput {
 public:
  /// Sets the output to a level, 0 for off.
  using Write = void (*)(void* context, uint32_t level);

  GuardedOutput(const Limits& limits, Write write, void* context);

  /// Why it can't be switched on, in words; nullptr where it can.
  const char* refusal(uint32_t now, uint32_t ms, uint32_t level);
  /// How long a start for `ms` would last: a run under way is prolonged, but never to more than `maxOnMs` in one.
  uint32_t lasting(uint32_t now, uint32_t ms) const;
  /// Switches it on, unless there is a refusal, which it gives.
  const char* start(uint32_t now, uint32_t ms, uint32_t level);
  void stop(uint32_t now);
  void tick(uint32_t now);
  /// Switches it off at once. May be called from any thread.
  void cutOff();
  /// Switches it off, and refuses to start until it is unlocked. `why` is told to whoever tries.
  void lock(uint32_t now, const char* why);
  void unlock() { locked_ = nullptr; }
  /// Ends a cooldown.
  void reset() { cooling_ = false; }

  bool isOn() const { return on_.load(); }
  /// Whether it was switched off past the loop since this was last asked.
  bool wasCutOff() { return cut_.exchange(false); }
  bool isCooling(uint32_t now);
  const Limits& limits() const { return limits_; }

 private:
  void set(bool on, uint32_t level);
  void account(uint32_t now);
  void ended(uint32_t now);

  const Limits limits_;
  const Write write_;
  void* const context_;
  const char* locked_ = nullptr;
  std::mutex writing_;
  std::atomic<bool> on_{false};
  std::atomic<bool> cut_{false};
  bool running_ = false;
  bool cooling_ = false;
  uint32_t begunAt_ = 0;
  uint32_t endsAt_ = 0;
  uint32_t coolAt_ = 0;
  /// What is left of `dutyMs`; it comes back while it is off.
  float budgetMs_;
  uint32_t accountedAt_ = 0;
  bool accounted_ = false;
};

/// An input that has to stay as it is for a while before it counts.
class Debounce {
 public:
  Debounce(uint32_t ms, bool value) : ms_(ms), value_(value), seen_(value) {}
  /// Takes what the input shows; whether the value changed.
  bool update(uint32_t now, bool seen);
  bool value() const { return value_; }

 private:
  const uint32_t ms_;
  bool value_;
  bool seen_;
  uint32_t since_ = 0;
};

/// How long to wait before the next attempt: from `leastMs`, twice as long each time up to `mostMs`, of which a random
/// half, so that a hundred boards don't come back in one moment.
class Backoff {
 public:
  Backoff(uint32_t leastMs, uint32_t mostMs) : leastMs_(leastMs), mostMs_(mostMs), nextMs_(leastMs) {}
  uint32_t next(uint32_t random);
  void reset() { nextMs_ = leastMs_; }

 private:
  const uint32_t leastMs_, mostMs_;
  uint32_t nextMs_;
};

/// Lets `burst` messages through in one go and `perSecond` after that, and counts the others.
class Throttle {
 public:
  Throttle(uint32_t burst, uint32_t perSecond) : burst_(burst), perSecond_(perSecond), credit_(burst) {}
  bool take(uint32_t now);
  /// How many were left out, once there is room to say so; 0 before that.
  uint32_t leftOut(uint32_t now);

 private:
  void refill(uint32_t now);
  const uint32_t burst_, perSecond_;
  uint32_t credit_, refilledAt_ = 0, left_ = 0;
};

/// Remembers the last ids, so that a command that a network delivers twice runs once.
class SeenIds {
 public:
  /// Whether it was there already; it is remembered either way.
  bool seen(const char* id, size_t length);

 private:
  static constexpr int COUNT = 64;
  uint64_t hashes_[COUNT] = {};
  int next_ = 0;
};

}  // namespace prop
