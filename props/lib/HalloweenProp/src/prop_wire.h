// The board's line to the broker: WiFi, and one MQTT 3.1.1 client with a will, a clean session and an id that is new at
// each start.
#pragma once

#include <mqtt_client.h>

#include <atomic>

#include "prop_core.h"
#include "prop_mailbox.h"
#include "prop_settings.h"

namespace prop {

class Wire {
 public:
  explicit Wire(Mailbox& mailbox) : mailbox_(mailbox) {}

  void begin(const Settings& settings);
  /// Connects, subscribes, and connects again: never waits.
  void loop(uint32_t now);
  /// Whether what is published now can arrive.
  bool isOnline() const { return connected_.load() && acks_.load() >= asked_.load() && asked_.load() > 0; }
  /// Counts the connections that came to be.
  uint32_t session() const { return session_.load(); }
  int rssi() const;

  /// Publishes under the board's own id. False where it can't be sent: nothing waits to be sent later.
  bool publish(const char* rest, Text payload, int qos, bool retain);
  bool publishTo(const char* topic, Text payload, int qos, bool retain);
  /// Whether `topic` is `<prefix>/<id>/reply/…`.
  bool isReplyTopic(Text topic) const;
  const char* prefix() const { return settings_->prefix; }
  /// Whether all that the broker has to confirm is confirmed. Who disconnects before that may take back what is on its way.
  bool isQuiet() const { return unconfirmed_.load() <= 0; }
  /// Disconnects in good order: the will is not published.
  void leave();

 private:
  static void onEvent(void* wire, esp_event_base_t base, int32_t id, void* event);
  void receive(const esp_mqtt_event_t& event);
  void letIn(Letter::Kind kind, const esp_mqtt_event_t& event, bool stop);
  bool isStop(Text payload);
  void subscribe();
  bool locate();
  void open();

  Mailbox& mailbox_;
  const Settings* settings_ = nullptr;
  esp_mqtt_client_handle_t client_ = nullptr;
  std::atomic<bool> connected_{false};
  std::atomic<bool> waits_{true};
  std::atomic<uint32_t> session_{0};
  std::atomic<int> asked_{0};
  std::atomic<int> acks_{0};
  std::atomic<int> unconfirmed_{0};
  uint32_t subscribedIn_ = 0;
  Backoff backoff_{500, 30000};
  uint32_t retryAt_ = 0;
  bool planned_ = true;
  bool mdns_ = false;
  char uri_[160];
  char serverName_[129];
  char clientId_[160];
  char will_[160];
  char commands_[160];
  char broadcast_[160];
  char others_[160];
  char lockOut_[160];
  char scratch_[MAX_PAYLOAD_BYTES];
};

}  // namespace prop
