// esp_timer and the task watchdog, each with a thread of its own, as on the board, where both outrank the loop.
#include <unistd.h>

#include <mutex>
#include <thread>
#include <vector>

#include "esp_task_wdt.h"
#include "esp_timer.h"
#include "host.h"

struct esp_timer {
  esp_timer_create_args_t args;
  /// 0: it doesn't run.
  uint64_t dueUs = 0;
};

namespace {

std::mutex ticking;
std::vector<esp_timer*> timers;
std::atomic<uint64_t> fedUs{0};
std::atomic<uint32_t> timeoutMs{0};
std::atomic<bool> watched{false};

void tick() {
  for (;;) {
    usleep(500);
    if (!host::faults.timers.load()) continue;
    const uint64_t now = host::nowUs();
    const std::lock_guard<std::mutex> lock(ticking);
    for (esp_timer* const timer : timers) {
      if (timer->dueUs == 0 || now < timer->dueUs) continue;
      timer->dueUs = 0;
      timer->args.callback(timer->args.arg);
    }
  }
}

void watch() {
  for (;;) {
    usleep(5000);
    if (!watched.load() || !host::faults.watchdog.load()) continue;
    // Read before the time, so that it never lies ahead of it.
    const uint64_t fed = fedUs.load();
    if (host::nowUs() - fed > timeoutMs.load() * 1000ULL) host::reset("task_watchdog");
  }
}

}  // namespace

void host::startTimers() { std::thread(tick).detach(); }
void host::startWatchdog() { std::thread(watch).detach(); }

esp_err_t esp_timer_create(const esp_timer_create_args_t* args, esp_timer_handle_t* timer) {
  const std::lock_guard<std::mutex> lock(ticking);
  *timer = new esp_timer{*args, 0};
  timers.push_back(*timer);
  return ESP_OK;
}

esp_err_t esp_timer_start_once(esp_timer_handle_t timer, uint64_t us) {
  const std::lock_guard<std::mutex> lock(ticking);
  if (timer->dueUs != 0) return ESP_ERR_INVALID_STATE;
  timer->dueUs = host::nowUs() + us;
  return ESP_OK;
}

esp_err_t esp_timer_stop(esp_timer_handle_t timer) {
  const std::lock_guard<std::mutex> lock(ticking);
  if (timer->dueUs == 0) return ESP_ERR_INVALID_STATE;
  timer->dueUs = 0;
  return ESP_OK;
}

esp_err_t esp_task_wdt_init(const esp_task_wdt_config_t*) { return ESP_ERR_INVALID_STATE; }

esp_err_t esp_task_wdt_reconfigure(const esp_task_wdt_config_t* config) {
  timeoutMs.store(config->timeout_ms);
  return ESP_OK;
}

esp_err_t esp_task_wdt_add(TaskHandle_t) {
  fedUs.store(host::nowUs());
  watched.store(true);
  return ESP_OK;
}

esp_err_t esp_task_wdt_reset() {
  fedUs.store(host::nowUs());
  return ESP_OK;
}
