#include "host.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <thread>

#include "Arduino.h"
#include "driver/gpio.h"
#include "esp_random.h"
#include "esp_system.h"

namespace host {

Faults faults;

namespace {

constexpr int PINS = 64;
struct Pin {
  std::atomic<uint8_t> mode{0};
  std::atomic<uint32_t> output{0};
  /// -1: nobody has set it, so that its pull-up or pull-down counts.
  std::atomic<int> input{-1};
};
Pin pins[PINS];

std::mutex writing;
std::mutex typing;
std::deque<char> typed;
std::atomic<uint32_t> offsetMs{0};
uint64_t startedUs = 0;

int64_t numberIn(const cJSON* fields, const char* name, int64_t otherwise) {
  const cJSON* const item = cJSON_GetObjectItemCaseSensitive(fields, name);
  return cJSON_IsNumber(item) ? static_cast<int64_t>(item->valuedouble) : otherwise;
}

void setFlag(const cJSON* fields, const char* name, std::atomic<bool>& flag) {
  const cJSON* const item = cJSON_GetObjectItemCaseSensitive(fields, name);
  if (cJSON_IsBool(item)) flag.store(cJSON_IsTrue(item));
}

/// One line of stdin.
void obey(const char* line) {
  cJSON* const fields = cJSON_Parse(line);
  if (!cJSON_IsObject(fields)) {
    trace("\"error\":" + quoted(std::string("stdin: expected JSON such as {\"pin\": 27, \"value\": 1}, got ") + line));
    cJSON_Delete(fields);
    return;
  }
  const int64_t pin = numberIn(fields, "pin", -1);
  if (pin >= 0 && pin < PINS) pins[pin].input.store(static_cast<int>(numberIn(fields, "value", 0)));
  setFlag(fields, "hang", faults.hang);
  setFlag(fields, "wifi", faults.wifi);
  setFlag(fields, "timers", faults.timers);
  setFlag(fields, "watchdog", faults.watchdog);
  faults.publishStallMs.store(
      static_cast<uint32_t>(numberIn(fields, "publish_stall_ms", faults.publishStallMs.load())));
  const int64_t ms = numberIn(fields, "millis", -1);
  if (ms >= 0) offsetMs.store(static_cast<uint32_t>(ms) - (millis() - offsetMs.load()));
  const cJSON* const serial = cJSON_GetObjectItemCaseSensitive(fields, "serial");
  if (cJSON_IsString(serial)) {
    const std::lock_guard<std::mutex> lock(typing);
    for (const char* at = serial->valuestring; *at != '\0'; ++at) typed.push_back(*at);
  }
  if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(fields, "reset"))) reset("power_on");
  cJSON_Delete(fields);
}

void listen() {
  char* line = nullptr;
  size_t size = 0;
  while (getline(&line, &size, stdin) >= 0) obey(line);
  free(line);
  // Whoever started it is gone.
  const char* const held = getenv("HOST_STDIN");
  if (held != nullptr && strcmp(held, "hold") == 0) _exit(0);
}

/// HOST_INPUTS: what the inputs show at the start, such as "27=0 32=1".
void setInputs() {
  const char* at = getenv("HOST_INPUTS");
  int pin, value, length;
  while (at != nullptr && sscanf(at, " %d=%d%n", &pin, &value, &length) == 2) {
    if (pin >= 0 && pin < PINS) pins[pin].input.store(value);
    at += length;
  }
}

}  // namespace

uint64_t nowUs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000 + static_cast<uint64_t>(now.tv_nsec) / 1000;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  char escaped[8];
  for (const char letter : text) {
    if (letter == '"' || letter == '\\') {
      out += '\\';
      out += letter;
    } else if (static_cast<unsigned char>(letter) < 0x20) {
      snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(letter));
      out += escaped;
    } else {
      out += letter;
    }
  }
  return out + '"';
}

void trace(const std::string& fields) {
  const std::lock_guard<std::mutex> lock(writing);
  printf("{\"ms\":%lu,%s}\n", static_cast<unsigned long>(millis()), fields.c_str());
  fflush(stdout);
}

void reset(const char* reason) {
  trace("\"reset\":" + quoted(reason));
  setenv("HOST_RESET_REASON", reason, 1);
  // What is wired to the inputs stays as it is.
  std::string inputs;
  for (int pin = 0; pin < PINS; ++pin) {
    const int value = pins[pin].input.load();
    if (value >= 0) inputs += std::to_string(pin) + '=' + std::to_string(value) + ' ';
  }
  setenv("HOST_INPUTS", inputs.c_str(), 1);
  // The broker sees the connection break, as it does when a chip resets.
  for (int fd = 3; fd < 1024; ++fd) fcntl(fd, F_SETFD, FD_CLOEXEC);
  execl("/proc/self/exe", "firmware", static_cast<char*>(nullptr));
  _exit(1);
}

}  // namespace host

using host::pins;

HardwareSerial Serial(0);
HardwareSerial Serial2(2);

uint32_t millis() {
  return static_cast<uint32_t>((host::nowUs() - host::startedUs) / 1000) + host::offsetMs.load();
}

void delay(uint32_t ms) { usleep(ms * 1000); }

void pinMode(uint8_t pin, uint8_t mode) {
  pins[pin % host::PINS].mode.store(mode);
  host::trace("\"pin\":" + std::to_string(pin) + ",\"mode\":" + (mode == OUTPUT ? "\"output\"" : "\"input\""));
}

esp_err_t gpio_set_level(gpio_num_t pin, uint32_t level) {
  if (pins[pin % host::PINS].output.exchange(level) != level) {
    host::trace("\"pin\":" + std::to_string(pin) + ",\"value\":" + std::to_string(level));
  }
  return ESP_OK;
}

void digitalWrite(uint8_t pin, uint8_t value) {
  // As in the core 3.x: what is no output yet is not written.
  if (pins[pin % host::PINS].mode.load() != OUTPUT) {
    host::trace("\"error\":\"pin " + std::to_string(pin) + " is not set as GPIO: call pinMode() first\"");
    return;
  }
  gpio_set_level(pin, value);
}

int digitalRead(uint8_t number) {
  const host::Pin& pin = pins[number % host::PINS];
  const int input = pin.input.load();
  return input >= 0 ? input : pin.mode.load() == INPUT_PULLUP ? HIGH : LOW;
}

bool ledcAttach(uint8_t, uint32_t, uint8_t) { return true; }

bool ledcWrite(uint8_t pin, uint32_t duty) {
  return gpio_set_level(pin, duty) == ESP_OK;
}

void HardwareSerial::begin(unsigned long, uint32_t, int8_t, int8_t) {}

int HardwareSerial::available() {
  const std::lock_guard<std::mutex> lock(host::typing);
  return number_ == 0 ? static_cast<int>(host::typed.size()) : 0;
}

int HardwareSerial::read() {
  const std::lock_guard<std::mutex> lock(host::typing);
  if (number_ != 0 || host::typed.empty()) return -1;
  const char letter = host::typed.front();
  host::typed.pop_front();
  return static_cast<unsigned char>(letter);
}

size_t HardwareSerial::write(const uint8_t* bytes, size_t length) {
  std::string hex;
  char two[3];
  for (size_t i = 0; i < length; ++i) {
    snprintf(two, sizeof two, "%02x", bytes[i]);
    hex += two;
  }
  host::trace("\"uart\":" + std::to_string(number_) + ",\"hex\":\"" + hex + '"');
  return length;
}

size_t HardwareSerial::print(const char* text) {
  host::trace("\"serial\":" + host::quoted(text));
  return strlen(text);
}

size_t HardwareSerial::printf(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return print(text);
}

uint32_t esp_random() {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) abort();
  return value;
}

esp_reset_reason_t esp_reset_reason() {
  const char* const reason = getenv("HOST_RESET_REASON");
  const std::string text = reason == nullptr ? "power_on" : reason;
  if (text == "task_watchdog") return ESP_RST_TASK_WDT;
  if (text == "software") return ESP_RST_SW;
  return ESP_RST_POWERON;
}

uint32_t esp_get_free_heap_size() { return 200000; }

void esp_restart() { host::reset("software"); }

int main() {
  host::startedUs = host::nowUs();
  const char* const ms = getenv("HOST_MILLIS");
  if (ms != nullptr && getenv("HOST_RESET_REASON") == nullptr) {
    host::offsetMs.store(static_cast<uint32_t>(strtoul(ms, nullptr, 10)));
  }
  host::setInputs();
  if (getenv("HOST_RESET_REASON") == nullptr) host::provision();
  host::startTimers();
  host::startWatchdog();
  std::thread(host::listen).detach();
  setup();
  for (;;) {
    while (host::faults.hang.load()) usleep(1000);
    loop();
    usleep(500);
  }
}
