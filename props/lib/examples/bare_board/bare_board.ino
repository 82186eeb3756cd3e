// A board without our library, and what it owes all the same: docs/bring-your-own-device.md. It has a lamp on pin 26.
#include <Preferences.h>
#include <WiFi.h>
#include <cJSON.h>
#include <esp_random.h>
#include <esp_timer.h>
#include <mqtt_client.h>

#include <atomic>

#define BOARD "halloween/lamp_hw/"
#define AVAILABILITY BOARD "status/availability"
#define ALL_STOP "halloween/worker_host/status/all_stop"
#define FOR_ALL "halloween/broadcast/cmd"
#define REFUSED "refused: all-stop is engaged, or it is on, or it is none of ping, stop and start with 50 to 5000 ms"

const uint8_t LAMP_PIN = 26;
const double LEAST_MS = 50, MOST_MS = 5000;
char wifiName[33] = "my haunt", wifiPassword[65] = "", broker[129] = "192.168.1.10:1883";

esp_mqtt_client_handle_t client;
esp_timer_handle_t cutOff;
std::atomic<bool> isOn{false}, isOnline{false}, isAllStop{false};
// What the client's task leaves for the loop to do.
std::atomic<bool> greets{false}, stops{false}, pongs{false}, refuses{false}, waits{false};
std::atomic<uint32_t> startMs{0};

/// Also from the timer, whatever the loop does.
void off(void*) {
  digitalWrite(LAMP_PIN, LOW);
  isOn = false;
}

void on(uint32_t ms) {
  // Not while it is on, so that nobody keeps it on for ever.
  if (isAllStop || isOn || !isOnline) {
    refuses = true;
    return;
  }
  esp_timer_stop(cutOff);
  isOn = true;
  digitalWrite(LAMP_PIN, HIGH);
  if (esp_timer_start_once(cutOff, ms * 1000ULL) != ESP_OK) off(nullptr);
}

void stop() {
  startMs = 0;
  stops = true;
}

/// `start 3000` or {"action": "start", "args": 3000}; for 1000 ms where it doesn't say.
void obey(const char* text, bool isForAll) {
  char action[16] = "";
  double ms = 1000;
  if (text[0] == '{') {
    // cJSON takes stack for each level, and the client's task has little of it.
    int levels = 0;
    for (const char* at = text; *at != '\0'; ++at) levels += *at == '{' || *at == '[';
    cJSON* const fields = levels > 4 ? nullptr : cJSON_Parse(text);
    const char* const name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(fields, "action"));
    const cJSON* const args = cJSON_GetObjectItemCaseSensitive(fields, "args");
    if (name != nullptr) snprintf(action, sizeof action, "%s", name);
    if (args != nullptr && !cJSON_IsNull(args)) ms = cJSON_IsNumber(args) ? args->valuedouble : 0;
    cJSON_Delete(fields);
  } else if (sscanf(text, "%15s %lf", action, &ms) == 1 && strchr(text, ' ') != nullptr) {
    ms = 0;
  }
  if (strcasecmp(action, "stop") == 0) stop();
  else if (isForAll) return;
  else if (strcmp(action, "ping") == 0) pongs = true;
  else if (strcmp(action, "start") == 0 && ms >= LEAST_MS && ms <= MOST_MS) startMs = static_cast<uint32_t>(ms);
  else refuses = true;
}

/// In the client's task: it notes what came, and the loop acts.
void onEvent(void*, esp_event_base_t, int32_t id, void* data) {
  const esp_mqtt_event_t& event = *static_cast<esp_mqtt_event_t*>(data);
  if (id == MQTT_EVENT_CONNECTED) {
    // In this order: it greets only while it is online.
    isOnline = true;
    greets = true;
  }
  if (id == MQTT_EVENT_DISCONNECTED) {
    isOnline = false;
    waits = true;
    stop();
  }
  // A long message comes in pieces, and only the first has the topic; no command is so long. Nothing ends with a NUL.
  char topic[64], text[256];
  if (id != MQTT_EVENT_DATA || event.data_len != event.total_data_len) return;
  if (event.data_len >= 256 || event.topic_len >= 64) return;
  snprintf(topic, sizeof topic, "%.*s", event.topic_len, event.topic);
  snprintf(text, sizeof text, "%.*s", event.data_len, event.data);
  if (strcmp(topic, ALL_STOP) != 0) {
    if (!event.retain) obey(text, strcmp(topic, FOR_ALL) == 0);
  } else if (strcmp(text, "engaged") == 0) {
    isAllStop = true;
    stop();
  } else if (strcmp(text, "clear") == 0) {
    isAllStop = false;
  }
}

/// Only while it is online: otherwise it would hold up the loop.
void say(const char* topic, const char* text, bool retain) {
  if (isOnline) esp_mqtt_client_publish(client, topic, text, 0, retain ? 1 : 0, retain);
}

/// At each connect, since the broker may have forgotten all of it. The latch comes before any command.
void greet() {
  for (const char* const topic : {ALL_STOP, FOR_ALL, BOARD "cmd"}) esp_mqtt_client_subscribe_single(client, topic, 1);
  say(BOARD "description",
      R"({"contract": 1, "id": "lamp_hw", "class": "lamp", "board": ")" CONFIG_IDF_TARGET R"(", "commands": {"ping": {}, )"
      R"("stop": {}, "start": {"args": {"type": "number", "minimum": 50, "maximum": 5000, "default": 1000}}}})",
      true);
  say(BOARD "state", isOn ? "on" : "idle", true);
  say(AVAILABILITY, "online", true);
}

/// What the menu of our library has put into NVS, if it ever ran on this board.
void recall(const char* key, char* value, size_t size) {
  Preferences kept;
  if (kept.begin("halloween", true) && kept.isKey(key)) kept.getString(key, value, size);
  kept.end();
}

void setup() {
  pinMode(LAMP_PIN, OUTPUT);
  off(nullptr);
  recall("wifi_name", wifiName, sizeof wifiName);
  recall("wifi_password", wifiPassword, sizeof wifiPassword);
  recall("broker", broker, sizeof broker);
  WiFi.mode(WIFI_STA);
  WiFi.setSleep(false);
  WiFi.begin(wifiName, wifiPassword);
  esp_timer_create_args_t timer = {};
  timer.callback = off;
  esp_timer_create(&timer, &cutOff);
  static char uri[160], clientId[32];
  snprintf(uri, sizeof uri, "mqtt://%s", broker);
  snprintf(clientId, sizeof clientId, "lamp_hw-%08lx", static_cast<unsigned long>(esp_random()));
  esp_mqtt_client_config_t config = {};
  config.broker.address.uri = uri;
  config.credentials.client_id = clientId;
  config.session.keepalive = 10;
  config.session.last_will.topic = AVAILABILITY;
  config.session.last_will.msg = "offline";
  config.session.last_will.msg_len = 7;
  config.session.last_will.qos = 1;
  config.session.last_will.retain = 1;
  config.network.timeout_ms = 3000;
  config.network.disable_auto_reconnect = true;
  config.buffer.size = 1024;
  client = esp_mqtt_client_init(&config);
  esp_mqtt_client_register_event(client, static_cast<esp_mqtt_event_id_t>(ESP_EVENT_ANY_ID), onEvent, nullptr);
  esp_mqtt_client_start(client);
}

void loop() {
  static bool wasOn = false;
  static uint32_t retryAt = 0;
  if (WiFi.status() != WL_CONNECTED) stop();
  const uint32_t ms = startMs.exchange(0);
  if (ms > 0) on(ms);
  // After the start: whichever came first, off wins.
  if (stops.exchange(false)) off(nullptr);
  if (greets.exchange(false)) greet();
  if (pongs.exchange(false)) say(BOARD "telemetry/pong", "ok", false);
  if (refuses.exchange(false)) say(BOARD "status/warn", REFUSED, false);
  if (wasOn != isOn) say(BOARD "state", (wasOn = isOn) ? "on" : "idle", true);
  // Not all boards of a haunt in one moment.
  if (waits.exchange(false)) retryAt = (millis() + 1000 + esp_random() % 4000) | 1;
  if (retryAt == 0 || static_cast<int32_t>(millis() - retryAt) < 0) return;
  retryAt = 0;
  if (esp_mqtt_client_reconnect(client) != ESP_OK) waits = true;
}
