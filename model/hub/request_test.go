package hub

import (
	"net/http"
	"net/url"
	"testing"
)

func address(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Where the token may go.
func TestSameOrigin(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
		why  string
	}{
		{"https://huggingface.co/a/b", "https://huggingface.co", true, "the hub"},
		{"https://HuggingFace.co:443/x", "https://huggingface.co", true, "the same, written otherwise"},
		{"http://localhost:80", "http://localhost", true, "the port of http"},
		{"https://cdn.huggingface.co", "https://huggingface.co", false, "a subdomain"},
		{"https://huggingface.co", "https://cdn.huggingface.co", false, "the domain above"},
		{"https://huggingface.co.example.com", "https://huggingface.co", false, "a host that begins like it"},
		{"https://huggingface.co:8443", "https://huggingface.co", false, "another port"},
		{"http://127.0.0.1:1", "http://127.0.0.1:2", false, "another port of this machine"},
		{"http://huggingface.co", "https://huggingface.co", false, "in the clear"},
		{"http://huggingface.co:443", "https://huggingface.co", false, "in the clear, on that port"},
		{"https://huggingface.co@example.com", "https://huggingface.co", false, "a user's name that looks like it"},
	} {
		if got := sameOrigin(address(t, tt.a), address(t, tt.b)); got != tt.want {
			t.Errorf("%s: sameOrigin(%s, %s) = %v", tt.why, tt.a, tt.b, got)
		}
	}
}

func TestTarget(t *testing.T) {
	for _, tt := range []struct {
		from, location, want string // want "" is an error
	}{
		{"https://hub/a/b?c", "/d", "https://hub/d"},
		{"https://hub/a/b", "https://cdn/x?y=z", "https://cdn/x?y=z"},
		{"http://hub/a", "http://cdn/x", "http://cdn/x"},
		{"http://hub/a", "https://cdn/x", "https://cdn/x"},
		{"https://hub/a", "//cdn/x", "https://cdn/x"},
		{"https://hub/a", "http://cdn/x", ""},
		{"https://hub/a", "http://hub/a", ""},
		{"http://hub/a", "file:///etc/passwd", ""},
		{"http://hub/a", "file://host/etc/passwd", ""},
		{"http://hub/a", "mailto:x", ""},
		{"http://hub/a", "http://%zz", ""},
		{"http://hub/a", "", ""},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			got, err := target(address(t, tt.from), &http.Response{StatusCode: status, Header: http.Header{"Location": {tt.location}}})
			if err == nil != (tt.want != "") || err == nil && got.String() != tt.want {
				t.Errorf("%d from %s to %q: %v, %v; want %q", status, tt.from, tt.location, got, err, tt.want)
			}
		}
	}
	for _, status := range []int{200, 206, 300, 304, 404} {
		if got, err := target(address(t, "http://hub"), &http.Response{StatusCode: status, Header: http.Header{"Location": {"/x"}}}); got != nil || err != nil {
			t.Errorf("%d is no redirect: %v, %v", status, got, err)
		}
	}
}
