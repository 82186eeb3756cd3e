#include "prop_core.h"

namespace prop {

GuardedOutput::GuardedOutput(const Limits& limits, Write write, void* context)
    : limits_(limits), write_(write), context_(context), budgetMs_(static_cast<float>(limits.dutyMs)) {}

void GuardedOutput::set(bool on, uint32_t level) {
  const std::lock_guard<std::mutex> lock(writing_);
  write_(context_, level);
  on_.store(on);
}

const char* GuardedOutput::refusal(uint32_t now, uint32_t ms, uint32_t level) {
  tick(now);
  if (locked_ != nullptr) return locked_;
  if (ms == 0 || level == 0) return "0 is none";
  if (ms > limits_.maxOnMs) return "longer than it may be on";
  if (isCooling(now)) return "cooling down";
  account(now);
  if (limits_.dutyMs > 0 && static_cast<float>(ms) > budgetMs_) return "it was on for too long of late: let it rest";
  return nullptr;
}

uint32_t GuardedOutput::lasting(uint32_t now, uint32_t ms) const {
  if (!running_) return ms;
  const uint32_t left = limits_.maxOnMs - (now - begunAt_);
  return ms < left ? ms : left;
}

const char* GuardedOutput::start(uint32_t now, uint32_t ms, uint32_t level) {
  const char* const why = refusal(now, ms, level);
  if (why != nullptr) return why;
  endsAt_ = now + lasting(now, ms);
  if (!running_) begunAt_ = now;
  running_ = true;
  set(true, level);
  return nullptr;
}

void GuardedOutput::stop(uint32_t now) {
  // Written in any case: whoever asks for off gets it.
  set(false, 0);
  if (running_) ended(now);
}

void GuardedOutput::tick(uint32_t now) {
  // Asked all the time, so that an old cooldown doesn't come back when millis() has gone half around.
  isCooling(now);
  if (!running_) return;
  if (!on_.load()) {
    ended(now);
  } else if (reached(now, endsAt_)) {
    stop(now);
  }
}

void GuardedOutput::cutOff() {
  const std::lock_guard<std::mutex> lock(writing_);
  write_(context_, 0);
  if (on_.exchange(false)) cut_.store(true);
}

void GuardedOutput::lock(uint32_t now, const char* why) {
  locked_ = why;
  if (running_) stop(now);
}

bool GuardedOutput::isCooling(uint32_t now) {
  if (cooling_ && reached(now, coolAt_)) cooling_ = false;
  return cooling_;
}

void GuardedOutput::ended(uint32_t now) {
  account(now);
  running_ = false;
  if (limits_.cooldownMs == 0) return;
  cooling_ = true;
  coolAt_ = now + limits_.cooldownMs;
}

/// Takes from the budget what it has been on since the last time, or gives back what it has been off.
void GuardedOutput::account(uint32_t now) {
  const float passed = accounted_ ? static_cast<float>(now - accountedAt_) : 0.0F;
  accounted_ = true;
  accountedAt_ = now;
  if (limits_.dutyMs == 0) return;
  const float most = static_cast<float>(limits_.dutyMs);
  if (running_) {
    budgetMs_ -= passed;
  } else {
    budgetMs_ += passed * most / static_cast<float>(limits_.windowMs - limits_.dutyMs);
  }
  if (budgetMs_ < 0) budgetMs_ = 0;
  if (budgetMs_ > most) budgetMs_ = most;
}

bool Debounce::update(uint32_t now, bool seen) {
  if (seen != seen_) {
    seen_ = seen;
    since_ = now;
  }
  if (seen_ == value_ || !reached(now, since_ + ms_)) return false;
  value_ = seen_;
  return true;
}

uint32_t Backoff::next(uint32_t random) {
  const uint32_t ms = nextMs_ / 2 + random % (nextMs_ / 2 + 1);
  nextMs_ = nextMs_ > mostMs_ / 2 ? mostMs_ : nextMs_ * 2;
  return ms;
}

void Throttle::refill(uint32_t now) {
  const uint32_t more = (now - refilledAt_) * perSecond_ / 1000;
  if (more == 0) return;
  refilledAt_ = now;
  credit_ = more > burst_ - credit_ ? burst_ : credit_ + more;
}

bool Throttle::take(uint32_t now) {
  refill(now);
  if (credit_ == 0) {
    ++left_;
    return false;
  }
  --credit_;
  return true;
}

uint32_t Throttle::leftOut(uint32_t now) {
  refill(now);
  if (left_ == 0 || credit_ == 0) return 0;
  --credit_;
  const uint32_t count = left_;
  left_ = 0;
  return count;
}

bool SeenIds::seen(const char* id, size_t length) {
  // FNV-1a, 64 bits; 0 stands for a free place.
  uint64_t hash = 0xcbf29ce484222325U;
  for (size_t i = 0; i < length; ++i) hash = (hash ^ static_cast<uint8_t>(id[i])) * 0x100000001b3U;
  if (hash == 0) hash = 1;
  for (const uint64_t each : hashes_) {
    if (each == hash) return true;
  }
  hashes_[next_] = hash;
  next_ = (next_ + 1) % COUNT;
  return false;
}

}  // namespace prop
