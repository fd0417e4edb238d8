package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestUnmarshal(t *testing.T) {
	type value struct {
		A int
		B []struct{ C string }
		D json.RawMessage
	}
	for _, test := range []struct{ name, json, want string }{
		{"all there", `{"a": 1, "b": [{"c": "x"}, {"c": "y"}], "d": {"any": [1e999]}}`, ""},
		{"space around", " \n{}\n", ""},
		{"the same key in two objects", `{"b": [{"c": "x"}], "d": {"c": 1, "d": {"c": 2}}}`, ""},
		{"empty", "", "line 1: unexpected end"},
		{"cut short", `{"a":`, "line 1: unexpected end"},
		{"something after it", "{}\n{}", "line 2: invalid character '{' after top-level value"},
		{"unknown key", `{"e": 1}`, `unknown field "e"`},
		{"unknown key within", `{"b": [{"e": 1}]}`, `unknown field "e"`},
		{"wrong kind", "{\n\"a\": \"x\"}", "line 2: json: cannot unmarshal string"},
		{"key twice", "{\"a\": 1,\n\"a\": 1}", `line 2: key "a" is there twice`},
		{"key twice in a list", `{"b": [{"c": "x", "c": "x"}]}`, `key "c" is there twice`},
		{"key twice, one escaped", `{"a": 1, "\u0061": 1}`, `key "a" is there twice`},
		{"key twice in a raw value", `{"d": {"x": {"y": 1, "y": 1}}}`, `key "y" is there twice`},
		{"too deep", `{"d": ` + strings.Repeat("[", 1e6), "max depth"},
	} {
		var v value
		switch err := Unmarshal([]byte(test.json), &v); {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && !strings.Contains(fmt.Sprint(err), test.want):
			t.Errorf("%s: error %v does not say %q", test.name, err, test.want)
		}
	}
}

func TestObject(t *testing.T) {
	got, err := Object([]byte(`{"a": {"b": 1}, "c": null}`))
	want := map[string]json.RawMessage{"a": json.RawMessage(`{"b": 1}`), "c": json.RawMessage("null")}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Object = %s, %v; want %s", got, err, want)
	}
	for _, bad := range []string{"null", "[]", `"x"`, "1"} {
		if got, err := Object([]byte(bad)); err == nil || !strings.Contains(err.Error(), "want a JSON object") {
			t.Errorf("Object(%s) = %s, %v", bad, got, err)
		}
	}
	if got, err := Object([]byte(`{"a": 1, "a": 1}`)); err == nil {
		t.Errorf("a key twice: %s", got)
	}
}

// What Unmarshal accepts, json.Unmarshal accepts and decodes to the same.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"a":{"a":[1,null,1e999]},"b":"\u0061"}`))
	f.Add([]byte(`{"a":1,"a":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var strict, lenient map[string]json.RawMessage
		if Unmarshal(data, &strict) != nil {
			return
		}
		if err := json.Unmarshal(data, &lenient); err != nil || !reflect.DeepEqual(strict, lenient) {
			t.Errorf("got %s, json.Unmarshal %s, %v", strict, lenient, err)
		}
	})
}
