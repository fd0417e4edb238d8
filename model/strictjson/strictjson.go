// Package strictjson decodes JSON and refuses keys that are twice, or unknown.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Unmarshal decodes data into v as json.Unmarshal does, except that a key which
// is twice in an object, at whatever depth, or that v has no field for is an
// error. Errors name the line.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		return locate(data, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // whatever its size
	if err := checkKeys(data, d); err != nil {
		return err
	}
	d = json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	return locate(data, d.Decode(v))
}

// Object decodes a JSON object into the raw values of its keys.
func Object(data []byte) (map[string]json.RawMessage, error) {
	var keys map[string]json.RawMessage
	err := Unmarshal(data, &keys)
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) || err == nil && keys == nil {
		return nil, errors.New("want a JSON object")
	}
	return keys, err
}

// checkKeys returns an error for the first key that is twice in one object.
func checkKeys(data []byte, d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if _, ok := token.(json.Delim); !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if token == json.Delim('{') {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if name := key.(string); seen[name] {
				return fmt.Errorf("line %d: key %.80q is there twice", line(data, d.InputOffset()), name)
			}
			seen[key.(string)] = true
		}
		if err := checkKeys(data, d); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}

// locate adds the line to an error that knows its offset.
func locate(data []byte, err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(data, syntax.Offset), err)
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: %w", line(data, kind.Offset), err)
	}
	return err
}

// line returns the number of the line in which data[:offset] ends.
func line(data []byte, offset int64) int {
	return 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
}
