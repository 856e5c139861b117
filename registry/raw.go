package registry

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

// Raw is a machine's JSON object as it came, compressed. It is never changed.
// The zero Raw stands for no object.
type Raw []byte

// NewRaw compresses object. It keeps nothing of it and may be called from
// several goroutines.
func NewRaw(object []byte) Raw {
	if len(object) == 0 {
		return nil
	}
	packed := rawDict.Encode(nil, object)
	return append(make(Raw, 0, len(packed)), packed...) // without the encoder's room to grow
}

// JSON returns the object, octet for octet as it came; nil for the zero Raw.
func (r Raw) JSON() ([]byte, error) {
	if len(r) == 0 {
		return nil, nil
	}
	object, err := rawDict.Decode(nil, r)
	if err != nil {
		return nil, fmt.Errorf("stored machine object: %w", err)
	}
	return object, nil
}

// rawDict primes the compressor with what machine objects have in common: an
// object of 600 octets takes about 220, at 2 µs, instead of 400 without it.
// Stored objects need exactly these octets to be read back, so they can only
// ever be added to by a new dictionary under a new name.
var rawDict = s2.MakeDict([]byte(rawDictText), nil)

const rawDictText = `{"id":"148e21dad76789","name":"aged-wind-2649","state":"stopped","region":"ams","instance_id":"01HQ3V9M7Z2W5X8Y4N6P0R1S2T",` +
	`"image_ref":{"registry":"registry.fly.io","repository":"web","tag":"deployment-01","digest":"sha256:"},"nonce":"","incomplete_config":null,` +
	`"host_status":"ok","services":[{"protocol":"tcp","internal_port":8080,"ports":[{"port":443,"handlers":["tls","http"]},{"port":80,"handlers":["http"],"force_https":true}]}],` +
	`"config":{"init":{},"env":{},"image":"registry.fly.io/web:deployment-01","auto_destroy":false,"restart":{"policy":"on-failure"},"dns":{"skip_registration":true},` +
	`"metadata":{"fly_flyctl_version":"0.","fly_release_id":"","fly_release_version":"1","process_group":"app","role":"Primary","version":"1.2.3","fly_process_group":"app","fly_platform_version":"v2"},` +
	`"guest":{"cpu_kind":"shared","cpus":1,"memory_mb":256}},"private_ip":"fdaa:0:18:a7b:7d:f066:b83b:2",` +
	`"checks":[{"name":"http","status":"passing"}],"created_at":"2026-10-31T02:30:10Z","updated_at":"2026-10-31T02:35:26Z",` +
	`"events":[{"type":"start","status":"started","source":"flyd","timestamp":1698719726615}],"state":"started","region":"fra"}`
