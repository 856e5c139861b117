package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A flyClient sends the requests of Fly's Go client (fly-go, package flaps), and
// reads the same fields of the responses.
type flyClient struct {
	t    *testing.T
	base string
}

// call sends in as JSON, unless it is nil, and decodes the response into out, unless
// that is nil. It returns the status and the error that Fly's client would report.
func (f *flyClient) call(method, path string, in, out any) (int, string) {
	f.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			f.t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, f.base+"/v1"+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "FlyV1 "+secretAcme)
	r.Header.Set("User-Agent", "flyctl/0.3.0")
	r.Header.Set("Fly-Machine-Lease-Nonce", "5c35f65c9f95")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if resp.StatusCode > 299 {
		var failed struct{ Error, Message string }
		if err := json.Unmarshal(text, &failed); err != nil || failed.Error == "" {
			f.t.Fatalf("%s %s: %d %q, which has no error: %v", method, path, resp.StatusCode, text, err)
		}
		return resp.StatusCode, failed.Error
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			f.t.Fatalf("%s %s: %q: %v", method, path, text, err)
		}
	}
	return resp.StatusCode, ""
}

// must is call for a request that must succeed.
func (f *flyClient) must(method, path string, in, out any) {
	f.t.Helper()
	if status, wrong := f.call(method, path, in, out); wrong != "" {
		f.t.Fatalf("%s %s: %d %s", method, path, status, wrong)
	}
}

type flyMachine struct {
	ID, Name, State, Region string
	InstanceID              string `json:"instance_id"`
	PrivateIP               string `json:"private_ip"`
	CreatedAt               string `json:"created_at"`
	UpdatedAt               string `json:"updated_at"`
	Config                  *struct {
		Image    string
		Metadata map[string]string
	}
	Events []struct {
		Type, Status string
		Timestamp    int64
	}
	Cordoned bool
}

type flyLaunch struct {
	Config      map[string]any `json:"config,omitempty"`
	Region      string         `json:"region,omitempty"`
	Name        string         `json:"name,omitempty"`
	SkipLaunch  bool           `json:"skip_launch,omitempty"`
	SkipSecrets bool           `json:"skip_secrets"`
	LeaseTTL    int            `json:"lease_ttl,omitempty"`
}

func TestFlysClientManagesAnApp(t *testing.T) { eachKeeper(t, manageApp) }

func manageApp(t *testing.T, w *world) {
	server := httptest.NewServer(w)
	defer server.Close()
	f := &flyClient{t, server.URL}

	if status, _ := f.call("GET", "/apps/web", nil, nil); status != http.StatusNotFound {
		t.Errorf("of a name that is free: %d", status)
	}
	var app struct {
		ID, Name, Status, Network string
		MachineCount              int64 `json:"machine_count"`
		Organization              struct{ Name, Slug string }
	}
	f.must("POST", "/apps?wait=true", map[string]string{"name": "web", "org_slug": "personal", "network": "", "app_role_id": ""}, &app)
	if app.ID == "" {
		t.Error("the app has no id")
	}
	f.must("GET", "/apps/web", nil, &app)
	if app.Name != "web" || app.Organization.Slug == "" {
		t.Errorf("got %+v", app)
	}
	var m flyMachine
	config := map[string]any{"image": "nginx", "metadata": map[string]string{"fly_process_group": "app"}, "guest": map[string]any{"cpus": 1}}
	f.must("POST", "/apps/web/machines", flyLaunch{Config: config, Region: "fra", LeaseTTL: 30}, &m)
	if len(m.ID) != 14 || m.State != "started" || m.Config.Image != "nginx" || !strings.HasPrefix(m.PrivateIP, "fdaa:0:18:") ||
		m.InstanceID == "" || m.Name == "" || m.CreatedAt == "" || len(m.Events) == 0 {
		t.Errorf("launched %+v", m)
	}
	machine := "/apps/web/machines/" + m.ID
	f.must("GET", fmt.Sprintf("%s/wait?state=started&timeout=60&version=%s", machine, m.InstanceID), nil, nil)

	before := m.InstanceID
	config["image"] = "nginx:2"
	f.must("POST", machine, flyLaunch{Config: config, Region: m.Region, Name: m.Name}, &m)
	if m.Config.Image != "nginx:2" || m.InstanceID == before || m.State != "started" {
		t.Errorf("updated %+v", m)
	}
	if status, wrong := f.call("POST", machine, flyLaunch{Config: config, Region: "ord"}, nil); status < 400 || !strings.Contains(wrong, "region") {
		t.Errorf("of an update to another region: %d %s", status, wrong)
	}

	f.must("POST", machine+"/stop", map[string]string{"id": m.ID, "signal": "SIGTERM", "timeout": "10s"}, nil)
	f.must("GET", machine+"/wait?instance_id="+m.InstanceID+"&state=stopped&timeout=60", nil, nil)
	f.must("POST", machine, flyLaunch{Config: config, SkipLaunch: true}, &m)
	if m.State != "stopped" {
		t.Errorf("after an update with skip_launch it is %s", m.State)
	}
	var started struct {
		PreviousState string `json:"previous_state"`
	}
	f.must("POST", machine+"/start", nil, &started)
	if started.PreviousState != "stopped" {
		t.Errorf("started from %q", started.PreviousState)
	}
	f.must("POST", machine+"/suspend", nil, nil)
	f.must("POST", machine+"/metadata/role", map[string]any{"value": "primary"}, nil)
	var metadata map[string]string
	f.must("GET", machine+"/metadata", nil, &metadata)
	if metadata["role"] != "primary" || metadata["fly_process_group"] != "app" {
		t.Errorf("metadata %v", metadata)
	}
	f.must("DELETE", machine+"/metadata/role", nil, nil)

	var list []flyMachine
	f.must("GET", "/apps/web/machines?include_deleted", nil, &list)
	if len(list) != 1 || list[0].ID != m.ID || list[0].State != "suspended" {
		t.Errorf("listed %+v", list)
	}
	f.must("DELETE", machine+"?kill=true", nil, nil)
	f.must("GET", machine+"/wait?state=destroyed&timeout=60", nil, nil)
	f.must("GET", machine, nil, &m)
	if m.State != "destroyed" {
		t.Errorf("destroyed, and it is %s", m.State)
	}
	f.must("GET", "/apps/web/machines", nil, &list)
	if len(list) != 0 {
		t.Errorf("listed %+v", list)
	}

	var apps struct {
		Apps []struct{ Name string }
	}
	f.must("GET", "/apps?app_role=&org_slug=personal", nil, &apps)
	if len(apps.Apps) != 1 || apps.Apps[0].Name != "web" {
		t.Errorf("apps %+v", apps)
	}
	var regions struct {
		Regions []struct {
			Code                string
			Latitude, Longitude float32
		} `json:"Regions"`
		Nearest string `json:"Nearest"`
	}
	f.must("GET", "/platform/regions", nil, &regions)
	if len(regions.Regions) < 30 || regions.Nearest != "ams" {
		t.Errorf("%d regions, nearest %q", len(regions.Regions), regions.Nearest)
	}
	f.must("DELETE", "/apps/web", nil, nil)
	if status, _ := f.call("GET", "/apps/web", nil, nil); status != http.StatusNotFound {
		t.Errorf("after it was deleted: %d", status)
	}
}
