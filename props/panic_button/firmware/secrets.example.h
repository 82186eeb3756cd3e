// What the board has to know to connect. Copy this file to secrets.h, which git ignores, and fill it in. You need it only
// where nobody is to type the settings into the board's menu; what was saved there comes first. Say "" for none.

// The WiFi: 2.4 GHz, since an ESP32 has no other.
#define WIFI_NAME "my haunt"
#define WIFI_PASSWORD ""

// The broker: haunt.local, 192.168.1.10, 192.168.1.10:1883, or with TLS mqtts://haunt.local:8883.
#define MQTT_BROKER "haunt.local"

// Who the board is to the broker.
#define MQTT_USER ""
#define MQTT_PASSWORD ""

// For mqtts: the certificate, as PEM, of the authority that signed the broker's. Write it so:
//   static constexpr char CA[] = R"(-----BEGIN CERTIFICATE-----
//   …
//   -----END CERTIFICATE-----)";
//   #define MQTT_CA CA
#define MQTT_CA ""
