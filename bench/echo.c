/*
 * How fast an MQTT client can be here at all: answers "ping <text>" on its command topic with <text> on its telemetry
 * topic, by libmosquitto. Arguments: port, id. Says "ready" on standard output.
 */
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char telemetry[256], command[256];

static void on_connect(struct mosquitto *client, void *data, int code)
{
    (void)data;
    if (code == 0) mosquitto_subscribe(client, NULL, command, 1);
    else exit(1);
}

static void on_subscribe(struct mosquitto *client, void *data, int id, int count, const int *granted)
{
    (void)client, (void)data, (void)id, (void)count, (void)granted;
    puts("ready");
    fflush(stdout);
}

static void on_message(struct mosquitto *client, void *data, const struct mosquitto_message *message)
{
    (void)data;
    const char *text = memchr(message->payload, ' ', (size_t)message->payloadlen);
    if (text == NULL) return;
    text++;
    int length = message->payloadlen - (int)(text - (const char *)message->payload);
    mosquitto_publish(client, NULL, telemetry, length, text, 0, false);
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    snprintf(command, sizeof command, "halloween/%s/cmd", argv[2]);
    snprintf(telemetry, sizeof telemetry, "halloween/%s/telemetry/pong", argv[2]);
    mosquitto_lib_init();
    struct mosquitto *client = mosquitto_new(NULL, true, NULL);
    if (client == NULL) return 1;
    mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
    mosquitto_connect_callback_set(client, on_connect);
    mosquitto_subscribe_callback_set(client, on_subscribe);
    mosquitto_message_callback_set(client, on_message);
    if (mosquitto_connect(client, "127.0.0.1", atoi(argv[1]), 60) != MOSQ_ERR_SUCCESS) return 1;
    return mosquitto_loop_forever(client, -1, 1) == MOSQ_ERR_SUCCESS ? 0 : 1;
}
