#include "prop_mailbox.h"

#include <string.h>

namespace prop {

namespace {

uint32_t hashOf(Text text) {
  uint32_t hash = 0x811c9dc5U;
  for (size_t i = 0; i < text.length; ++i) hash = (hash ^ static_cast<uint8_t>(text.at[i])) * 0x01000193U;
  return hash == 0 ? 1 : hash;
}

void fill(Letter& letter, Letter::Kind kind, Text payload, uint32_t now) {
  letter.kind = kind;
  letter.overtaken = false;
  letter.at = now;
  letter.length = payload.length;
  if (payload.at != nullptr && payload.length <= sizeof letter.payload) {
    memcpy(letter.payload, payload.at, payload.length);
  }
}

}  // namespace

void Mailbox::put(Letter::Kind kind, Text payload, uint32_t now, bool stop) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (stop) {
    for (int i = 0; i < count_; ++i) letters_[(first_ + i) % COUNT].overtaken = true;
    stop_.store(true);
  }
  if (count_ < COUNT) {
    fill(letters_[(first_ + count_++) % COUNT], kind, payload, now);
  } else if (stop) {
    fill(extra_, kind, payload, now);
    hasExtra_ = true;
  } else {
    dropped_.fetch_add(1);
  }
}

void Mailbox::putTooLong(size_t all, uint32_t now) { put(Letter::Kind::TooLong, Text{nullptr, all}, now, false); }

void Mailbox::allStop(Text host, bool engaged) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const uint32_t hash = hashOf(host);
  uint32_t* place = nullptr;
  for (uint32_t& each : engaged_) {
    if (each == hash || (each == 0 && place == nullptr)) place = &each;
    if (each == hash) break;
  }
  if (engaged) {
    // More hosts than anybody has: safe until the next reboot.
    if (place == nullptr) moreEngaged_ = true;
    else *place = hash;
    stop_.store(true);
    for (int i = 0; i < count_; ++i) letters_[(first_ + i) % COUNT].overtaken = true;
  } else if (place != nullptr && *place == hash) {
    *place = 0;
  }
  bool any = moreEngaged_;
  for (const uint32_t each : engaged_) any = any || each != 0;
  allStop_.store(any);
}

void Mailbox::lockOut(Text reason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  lockedOut_.store(!reason.empty());
  if (!reason.empty()) stop_.store(true);
}

bool Mailbox::take(Letter& letter) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (count_ > 0) {
    letter = letters_[first_];
    first_ = (first_ + 1) % COUNT;
    --count_;
    return true;
  }
  if (!hasExtra_) return false;
  letter = extra_;
  hasExtra_ = false;
  return true;
}

}  // namespace prop
