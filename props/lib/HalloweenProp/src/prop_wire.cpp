#include "prop_wire.h"

#include <Arduino.h>
#include <ESPmDNS.h>
#include <WiFi.h>
#include <esp_random.h>
#include <stdio.h>
#include <string.h>

#include "prop_command.h"

namespace prop {

namespace {

constexpr int KEEPALIVE_S = 10;
/// How long one write may hold up the loop: less than the watchdog allows.
constexpr int NETWORK_TIMEOUT_MS = 3000;
constexpr int BUFFER_BYTES = 2048;
/// A description is sent in one piece.
constexpr int OUT_BUFFER_BYTES = 4608;

Text topicOf(const esp_mqtt_event_t& event) {
  return Text{event.topic, event.topic == nullptr ? 0 : static_cast<size_t>(event.topic_len)};
}

}  // namespace

void Wire::begin(const Settings& settings) {
  settings_ = &settings;
  const char* const prefix = settings.prefix;
  const char* const id = settings.id;
  snprintf(clientId_, sizeof clientId_, "%s-%s-%08lx", prefix, id, static_cast<unsigned long>(esp_random()));
  snprintf(will_, sizeof will_, "%s/%s/status/availability", prefix, id);
  snprintf(commands_, sizeof commands_, "%s/%s/cmd", prefix, id);
  snprintf(broadcast_, sizeof broadcast_, "%s/broadcast/cmd", prefix);
  snprintf(lockOut_, sizeof lockOut_, "%s/%s/status/lock_out", prefix, id);
  const size_t length = strlen(id);
  const bool beside = length > 3 && strcmp(id + length - 3, "_hw") == 0;
  snprintf(others_, sizeof others_, "%s/%.*s/cmd", prefix, beside ? static_cast<int>(length - 3) : 0, id);
  if (!beside) others_[0] = '\0';
  WiFi.mode(WIFI_STA);
  WiFi.setHostname(id);
  // Modem sleep would hold back a stop for a tenth of a second and more.
  WiFi.setSleep(false);
  WiFi.setAutoReconnect(true);
  WiFi.begin(settings.wifiName, settings.wifiPassword);
}

int Wire::rssi() const { return WiFi.RSSI(); }

void Wire::loop(uint32_t now) {
  if (settings_->broker[0] == '\0') return;
  if (WiFi.status() != WL_CONNECTED) {
    // The client alone would notice only when its keepalive runs out.
    if (connected_.exchange(false)) esp_mqtt_client_disconnect(client_);
    return;
  }
  if (connected_.load() && subscribedIn_ != session_.load()) subscribe();
  if (!waits_.load()) {
    planned_ = false;
    return;
  }
  if (!planned_) {
    planned_ = true;
    retryAt_ = now + backoff_.next(esp_random());
  }
  if (client_ != nullptr && !reached(now, retryAt_)) return;
  if (!locate()) {
    retryAt_ = now + backoff_.next(esp_random());
    return;
  }
  waits_.store(false);
  if (client_ == nullptr) {
    open();
  } else {
    esp_mqtt_client_set_uri(client_, uri_);
    if (esp_mqtt_client_reconnect(client_) != ESP_OK) waits_.store(true);
  }
}

/// Writes the broker's address into `uri_`; false where its name is not found.
bool Wire::locate() {
  const char* rest = settings_->broker;
  const bool tls = strncmp(rest, "mqtts://", 8) == 0;
  if (tls) rest += 8;
  else if (strncmp(rest, "mqtt://", 7) == 0) rest += 7;
  const char* const colon = strrchr(rest, ':');
  const size_t length = colon == nullptr ? strlen(rest) : static_cast<size_t>(colon - rest);
  snprintf(serverName_, sizeof serverName_, "%.*s", static_cast<int>(length), rest);
  const char* const port = colon == nullptr ? (tls ? "8883" : "1883") : colon + 1;
  const char* const scheme = tls ? "mqtts" : "mqtt";
  if (length < 7 || strcmp(serverName_ + length - 6, ".local") != 0) {
    snprintf(uri_, sizeof uri_, "%s://%s:%s", scheme, serverName_, port);
    return true;
  }
  if (!mdns_) mdns_ = MDNS.begin(settings_->id);
  char name[129];
  snprintf(name, sizeof name, "%.*s", static_cast<int>(length - 6), serverName_);
  const IPAddress ip = MDNS.queryHost(name);
  if (ip[0] == 0) return false;
  snprintf(uri_, sizeof uri_, "%s://%u.%u.%u.%u:%s", scheme, ip[0], ip[1], ip[2], ip[3], port);
  return true;
}

void Wire::open() {
  esp_mqtt_client_config_t config = {};
  config.broker.address.uri = uri_;
  if (settings_->ca[0] != '\0') {
    config.broker.verification.certificate = settings_->ca;
    config.broker.verification.common_name = serverName_;
  }
  config.credentials.client_id = clientId_;
  if (settings_->user[0] != '\0') {
    config.credentials.username = settings_->user;
    config.credentials.authentication.password = settings_->password;
  }
  config.session.last_will.topic = will_;
  config.session.last_will.msg = "offline";
  config.session.last_will.msg_len = 7;
  config.session.last_will.qos = 1;
  config.session.last_will.retain = 1;
  config.session.keepalive = KEEPALIVE_S;
  config.session.disable_clean_session = false;
  config.session.protocol_ver = MQTT_PROTOCOL_V_3_1_1;
  config.network.timeout_ms = NETWORK_TIMEOUT_MS;
  // Its own has a fixed delay: a hundred boards would come back in one moment.
  config.network.disable_auto_reconnect = true;
  config.buffer.size = BUFFER_BYTES;
  config.buffer.out_size = OUT_BUFFER_BYTES;
  config.outbox.limit = 16384;
  client_ = esp_mqtt_client_init(&config);
  esp_mqtt_client_register_event(client_, static_cast<esp_mqtt_event_id_t>(ESP_EVENT_ANY_ID), &Wire::onEvent, this);
  esp_mqtt_client_start(client_);
}

/// The latches come first: what is retained of them is there before any command is.
void Wire::subscribe() {
  subscribedIn_ = session_.load();
  backoff_.reset();
  mailbox_.lockOut(Text{});
  char latches[160];
  snprintf(latches, sizeof latches, "%s/+/status/all_stop", settings_->prefix);
  const char* const filters[] = {latches, lockOut_, broadcast_, others_, commands_};
  int count = 0;
  for (const char* const filter : filters) count += filter[0] == '\0' ? 0 : 1;
  acks_.store(0);
  asked_.store(count);
  for (const char* const filter : filters) {
    if (filter[0] != '\0') esp_mqtt_client_subscribe_single(client_, filter, 1);
  }
}

void Wire::onEvent(void* context, esp_event_base_t, int32_t id, void* data) {
  Wire& wire = *static_cast<Wire*>(context);
  const esp_mqtt_event_t& event = *static_cast<esp_mqtt_event_t*>(data);
  switch (static_cast<esp_mqtt_event_id_t>(id)) {
    case MQTT_EVENT_CONNECTED:
      wire.asked_.store(0);
      wire.unconfirmed_.store(0);
      wire.session_.fetch_add(1);
      wire.connected_.store(true);
      break;
    case MQTT_EVENT_DISCONNECTED:
      wire.connected_.store(false);
      wire.waits_.store(true);
      break;
    case MQTT_EVENT_SUBSCRIBED:
      wire.acks_.fetch_add(1);
      break;
    case MQTT_EVENT_PUBLISHED:
      wire.unconfirmed_.fetch_sub(1);
      break;
    case MQTT_EVENT_DATA:
      wire.receive(event);
      break;
    default:
      break;
  }
}

void Wire::receive(const esp_mqtt_event_t& event) {
  // The topic is on the first piece of a message only.
  if (event.current_data_offset > 0) return;
  const Text topic = topicOf(event);
  const Text payload{event.data, static_cast<size_t>(event.data_len)};
  if (topic.is(commands_)) {
    letIn(event.retain ? Letter::Kind::Retained : Letter::Kind::Command, event, isStop(payload));
  } else if (topic.is(broadcast_) || (others_[0] != '\0' && topic.is(others_))) {
    // A stop for all is confirmed by each; one for the worker beside it, by that worker alone.
    const Letter::Kind kind = topic.is(broadcast_) ? Letter::Kind::Command : Letter::Kind::OthersStop;
    if (!event.retain && isStop(payload)) letIn(kind, event, true);
  } else if (topic.is(lockOut_)) {
    mailbox_.lockOut(payload);
  } else {
    // What is left is <prefix>/<host>/status/all_stop.
    const size_t prefix = strlen(settings_->prefix) + 1;
    constexpr size_t REST = sizeof "/status/all_stop" - 1;
    if (topic.length <= prefix + REST) return;
    const Text host{topic.at + prefix, topic.length - prefix - REST};
    if (payload.is("engaged")) mailbox_.allStop(host, true);
    if (payload.is("clear")) mailbox_.allStop(host, false);
  }
}

void Wire::letIn(Letter::Kind kind, const esp_mqtt_event_t& event, bool stop) {
  const Text payload{event.data, static_cast<size_t>(event.data_len)};
  const size_t all = static_cast<size_t>(event.total_data_len);
  if (all > payload.length || all > MAX_PAYLOAD_BYTES) {
    if (stop) mailbox_.put(kind, Text{"stop", 4}, millis(), true);
    else mailbox_.putTooLong(all, millis());
  } else {
    mailbox_.put(kind, payload, millis(), stop);
  }
}

bool Wire::isStop(Text payload) {
  const size_t length = payload.length < sizeof scratch_ ? payload.length : sizeof scratch_;
  if (length == 0) return false;
  memcpy(scratch_, payload.at, length);
  Command command;
  return parseCommand(scratch_, length, command) == Refusal::None && command.stops();
}

bool Wire::publish(const char* rest, Text payload, int qos, bool retain) {
  char topic[256];
  const int length = snprintf(topic, sizeof topic, "%s/%s/%s", settings_->prefix, settings_->id, rest);
  return length > 0 && static_cast<size_t>(length) < sizeof topic && publishTo(topic, payload, qos, retain);
}

bool Wire::publishTo(const char* topic, Text payload, int qos, bool retain) {
  // While the client connects, publish() would hold up the loop for the whole network timeout.
  if (!connected_.load()) return false;
  if (qos > 0) unconfirmed_.fetch_add(1);
  const char* const data = payload.empty() ? "" : payload.at;
  const int sent = esp_mqtt_client_publish(client_, topic, data, static_cast<int>(payload.length), qos, retain);
  // The next one would wait as long.
  if (sent < 0) esp_mqtt_client_disconnect(client_);
  return sent >= 0;
}

bool Wire::isReplyTopic(Text topic) const {
  const size_t prefix = strlen(settings_->prefix);
  if (topic.length <= prefix + 1 || memcmp(topic.at, settings_->prefix, prefix) != 0 || topic.at[prefix] != '/') return false;
  const char* const end = topic.at + topic.length;
  const char* at = topic.at + prefix + 1;
  while (at < end && *at != '/') ++at;
  constexpr size_t REST = sizeof "/reply/" - 1;
  const size_t left = static_cast<size_t>(end - at);
  if (at == topic.at + prefix + 1 || left <= REST || memcmp(at, "/reply/", REST) != 0) return false;
  for (const char* each = topic.at; each < end; ++each) {
    if (*each == '+' || *each == '#' || static_cast<uint8_t>(*each) < 0x20 || *each == 0x7F) return false;
  }
  return true;
}

void Wire::leave() {
  if (client_ != nullptr) esp_mqtt_client_disconnect(client_);
  connected_.store(false);
}

}  // namespace prop
