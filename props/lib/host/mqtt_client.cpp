#include "mqtt_client.h"

#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "host.h"

namespace {

enum class State { Waits, Connecting, Connected };

constexpr int LOOP_MS = 5;
/// A message is smaller than the buffer by its header.
constexpr int HEADER_BYTES = 9;

}  // namespace

struct esp_mqtt_client {
  esp_mqtt_client_config_t config;
  std::string clientId, username, password, willTopic, will, certificate;
  esp_event_handler_t handler = nullptr;
  void* context = nullptr;

  std::mutex mutex;  // guards uri and session
  std::string uri;
  mosquitto* session = nullptr;

  std::mutex sending;  // guards unconfirmed
  std::set<int> unconfirmed;

  std::atomic<State> state{State::Waits};
  std::atomic<bool> wanted{false};
  std::atomic<bool> leaves{false};

  void dispatch(esp_mqtt_event_t& event) {
    event.client = this;
    handler(context, "MQTT_EVENTS", event.event_id, &event);
  }

  void dispatch(esp_mqtt_event_id_t id, int message = 0) {
    esp_mqtt_event_t event = {};
    event.event_id = id;
    event.msg_id = message;
    dispatch(event);
  }

  void run();
  void serve();
  bool connect();
  void receive(const mosquitto_message& message);
};

namespace {

esp_mqtt_client& clientOf(void* context) { return *static_cast<esp_mqtt_client*>(context); }

void onConnect(mosquitto*, void* context, int code) {
  if (code != 0) return;
  clientOf(context).state.store(State::Connected);
  clientOf(context).dispatch(MQTT_EVENT_CONNECTED);
}

void onSubscribe(mosquitto*, void* context, int id, int, const int*) {
  clientOf(context).dispatch(MQTT_EVENT_SUBSCRIBED, id);
}

/// libmosquitto tells of QoS 0 too, esp-mqtt doesn't.
void onPublish(mosquitto*, void* context, int id) {
  esp_mqtt_client& client = clientOf(context);
  {
    const std::lock_guard<std::mutex> lock(client.sending);
    if (client.unconfirmed.erase(id) == 0) return;
  }
  client.dispatch(MQTT_EVENT_PUBLISHED, id);
}

void onMessage(mosquitto*, void* context, const mosquitto_message* message) { clientOf(context).receive(*message); }

/// `mqtt://host:port` in its parts.
struct Address {
  bool tls;
  std::string host;
  int port;
};

Address addressOf(const std::string& uri) {
  const size_t scheme = uri.find("://");
  const std::string rest = scheme == std::string::npos ? uri : uri.substr(scheme + 3);
  const size_t colon = rest.rfind(':');
  return {uri.rfind("mqtts://", 0) == 0, rest.substr(0, colon), atoi(rest.c_str() + colon + 1)};
}

/// libmosquitto wants the certificate in a file.
std::string fileWith(const std::string& text) {
  char path[] = "/tmp/halloween-ca-XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) return "";
  close(fd);
  return path;
}

}  // namespace

void esp_mqtt_client::receive(const mosquitto_message& message) {
  const int topicLength = static_cast<int>(strlen(message.topic));
  const int room = config.buffer.size - topicLength - HEADER_BYTES;
  int offset = 0;
  do {
    const int left = message.payloadlen - offset;
    const int length = offset == 0 ? (left < room ? left : room) : (left < config.buffer.size ? left : config.buffer.size);
    esp_mqtt_event_t event = {};
    event.event_id = MQTT_EVENT_DATA;
    // What esp-mqtt gives is not closed by a NUL: neither is this, for the sanitizers to see.
    std::string topic(message.topic, static_cast<size_t>(offset == 0 ? topicLength : 0));
    std::string data(static_cast<const char*>(message.payload) + offset, static_cast<size_t>(length));
    char* const bytes = new char[data.size()];
    memcpy(bytes, data.data(), data.size());
    event.topic = offset == 0 ? topic.data() : nullptr;
    event.topic_len = offset == 0 ? topicLength : 0;
    event.data = bytes;
    event.data_len = length;
    event.total_data_len = message.payloadlen;
    event.current_data_offset = offset;
    event.retain = message.retain;
    event.qos = message.qos;
    event.msg_id = message.mid;
    dispatch(event);
    delete[] bytes;
    offset += length;
  } while (offset < message.payloadlen);
}

bool esp_mqtt_client::connect() {
  const std::lock_guard<std::mutex> lock(mutex);
  if (session != nullptr) mosquitto_destroy(session);
  {
    const std::lock_guard<std::mutex> lockSending(sending);
    unconfirmed.clear();
  }
  session = mosquitto_new(clientId.c_str(), true, this);
  mosquitto_threaded_set(session, true);
  mosquitto_int_option(session, MOSQ_OPT_TCP_NODELAY, 1);
  mosquitto_int_option(session, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V311);
  mosquitto_connect_callback_set(session, onConnect);
  mosquitto_subscribe_callback_set(session, onSubscribe);
  mosquitto_publish_callback_set(session, onPublish);
  mosquitto_message_callback_set(session, onMessage);
  if (!username.empty()) mosquitto_username_pw_set(session, username.c_str(), password.c_str());
  mosquitto_will_set(session, willTopic.c_str(), static_cast<int>(will.size()), will.data(), config.session.last_will.qos,
                     config.session.last_will.retain != 0);
  const Address address = addressOf(uri);
  const std::string file = address.tls ? fileWith(certificate) : "";
  if (address.tls && mosquitto_tls_set(session, file.c_str(), nullptr, nullptr, nullptr, nullptr) != MOSQ_ERR_SUCCESS) {
    return false;
  }
  const int connected = mosquitto_connect(session, address.host.c_str(), address.port, config.session.keepalive);
  if (address.tls) unlink(file.c_str());
  return connected == MOSQ_ERR_SUCCESS;
}

/// From the connection to its end.
void esp_mqtt_client::serve() {
  const uint64_t until = host::nowUs() + static_cast<uint64_t>(config.network.timeout_ms) * 1000;
  for (;;) {
    // Without WiFi nothing is sent and nothing heard: the broker goes on until its keepalive runs out.
    if (!host::faults.wifi.load()) return;
    if (leaves.exchange(false)) mosquitto_disconnect(session);
    if (mosquitto_loop(session, LOOP_MS, 1) != MOSQ_ERR_SUCCESS) return;
    if (state.load() == State::Connecting && host::nowUs() > until) return;
  }
}

void esp_mqtt_client::run() {
  for (;;) {
    if (!wanted.exchange(false)) {
      usleep(2000);
      continue;
    }
    if (host::faults.wifi.load() && connect()) serve();
    state.store(State::Waits);
    dispatch(MQTT_EVENT_DISCONNECTED);
  }
}

esp_mqtt_client_handle_t esp_mqtt_client_init(const esp_mqtt_client_config_t* config) {
  mosquitto_lib_init();
  const auto orEmpty = [](const char* text) { return std::string(text == nullptr ? "" : text); };
  esp_mqtt_client* const client = new esp_mqtt_client;
  client->config = *config;
  client->uri = orEmpty(config->broker.address.uri);
  client->clientId = orEmpty(config->credentials.client_id);
  client->username = orEmpty(config->credentials.username);
  client->password = orEmpty(config->credentials.authentication.password);
  client->certificate = orEmpty(config->broker.verification.certificate);
  client->willTopic = orEmpty(config->session.last_will.topic);
  client->will = std::string(config->session.last_will.msg, static_cast<size_t>(config->session.last_will.msg_len));
  return client;
}

esp_err_t esp_mqtt_client_register_event(esp_mqtt_client_handle_t client, esp_mqtt_event_id_t,
                                         esp_event_handler_t handler, void* arg) {
  client->handler = handler;
  client->context = arg;
  return ESP_OK;
}

esp_err_t esp_mqtt_client_set_uri(esp_mqtt_client_handle_t client, const char* uri) {
  const std::lock_guard<std::mutex> lock(client->mutex);
  client->uri = uri;
  return ESP_OK;
}

esp_err_t esp_mqtt_client_start(esp_mqtt_client_handle_t client) {
  client->state.store(State::Connecting);
  client->wanted.store(true);
  std::thread([client] { client->run(); }).detach();
  return ESP_OK;
}

esp_err_t esp_mqtt_client_reconnect(esp_mqtt_client_handle_t client) {
  State waits = State::Waits;
  if (!client->state.compare_exchange_strong(waits, State::Connecting)) return ESP_FAIL;
  client->wanted.store(true);
  return ESP_OK;
}

esp_err_t esp_mqtt_client_disconnect(esp_mqtt_client_handle_t client) {
  if (client->state.load() != State::Connected) return ESP_FAIL;
  client->leaves.store(true);
  // What was published before leaves before.
  for (int i = 0; i < 250 && client->state.load() == State::Connected; ++i) usleep(2000);
  client->leaves.store(false);
  return ESP_OK;
}

int esp_mqtt_client_subscribe_single(esp_mqtt_client_handle_t client, const char* topic, int qos) {
  int id = -1;
  if (client->state.load() != State::Connected) return -1;
  return mosquitto_subscribe(client->session, &id, topic, qos) == MOSQ_ERR_SUCCESS ? id : -1;
}

int esp_mqtt_client_publish(esp_mqtt_client_handle_t client, const char* topic, const char* data, int len, int qos,
                            int retain) {
  const uint32_t stallMs = host::faults.publishStallMs.load();
  if (stallMs > 0) usleep(stallMs * 1000);
  if (client->state.load() == State::Connecting) usleep(static_cast<unsigned>(client->config.network.timeout_ms) * 1000);
  if (client->state.load() != State::Connected) return -1;
  int id = 0;
  const int length = len > 0 || data == nullptr ? len : static_cast<int>(strlen(data));
  const std::lock_guard<std::mutex> lock(client->sending);
  if (mosquitto_publish(client->session, &id, topic, length, data, qos, retain != 0) != MOSQ_ERR_SUCCESS) return -1;
  if (qos > 0) client->unconfirmed.insert(id);
  return qos == 0 ? 0 : id;
}
