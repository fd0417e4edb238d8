package strictjson

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func TestUnmarshal(t *testing.T) {
	type Inner struct {
		F map[string]*struct {
			G int `json:"g"`
		} `json:"f"`
	}
	type value struct {
		Inner
		A int `json:"a,omitempty"`
		B []struct {
			C string `json:"c"`
		} `json:"b"`
		D json.RawMessage `json:"d"`
		H any             `json:"h"`
		I int             `json:"-"`
		J string
	}
	for _, test := range []struct{ name, json, want string }{
		{"all there", `{"a": 1, "b": [{"c": "x"}, {"c": "y"}], "d": {"any": [1e999]}}`, ""},
		{"space around", " \n{}\n", ""},
		{"the same key in two objects", `{"b": [{"c": "x"}], "d": {"c": 1, "d": {"c": 2}}}`, ""},
		{"empty", "", "line 1: unexpected end"},
		{"cut short", `{"a":`, "line 1: unexpected end"},
		{"something after it", "{}\n{}", "line 2: invalid character '{' after top-level value"},
		{"fields of every kind", `{"f": {"F": {"g": 1}, "f": {"g": 2}}, "h": {"A": 1, "a": 2}, "J": "", "b": null, "a": 1}`, ""},
		{"unknown key", `{"e": 1}`, `unknown field "e"`},
		{"key in another case", "{\"b\":\n[{\"C\": \"x\"}]}", `line 2: unknown field "C"`},
		{"key in two cases", `{"a": 1, "A": 1}`, `unknown field "A"`},
		{"key in another case, embedded", `{"F": {}}`, `unknown field "F"`},
		{"key in another case, in a map", `{"f": {"x": {"G": 1}}}`, `unknown field "G"`},
		{"key in another case, without a tag", `{"j": ""}`, `unknown field "j"`},
		{"key of a field that has none", `{"I": 1}`, `unknown field "I"`},
		{"unknown key within", `{"b": [{"e": 1}]}`, `unknown field "e"`},
		{"not UTF-8", "{\"d\": {\"\xff\": 1}}", "not UTF-8"},
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
