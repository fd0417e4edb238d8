// Package strictjson decodes JSON and refuses keys that are twice, or unknown.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Unmarshal decodes data into v as json.Unmarshal does, except that a key is an error
// which is twice in an object, at whatever depth, or which is not to the letter that of
// a field of v, and so is what is not UTF-8. Errors name the line.
func Unmarshal(data []byte, v any) error {
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		return locate(data, err)
	}
	if !utf8.Valid(data) { // json.Unmarshal replaces what is not
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // whatever its size
	if err := checkKeys(data, d, reflect.TypeOf(v)); err != nil {
		return err
	}
	return locate(data, json.Unmarshal(data, v))
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

// checkKeys returns an error for the first key that is twice in one object, or that the
// type, nil if it may be any, has no field for.
func checkKeys(data []byte, d *json.Decoder, t reflect.Type) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if _, ok := token.(json.Delim); !ok {
		return nil
	}
	fields, element := parts(t)
	seen := map[string]bool{}
	for d.More() {
		value := element
		if token == json.Delim('{') {
			token, err := d.Token()
			if err != nil {
				return err
			}
			key, problem := token.(string), ""
			field, ok := fields[key]
			switch {
			case seen[key]:
				problem = "key %.80q is there twice"
			case fields != nil && !ok:
				problem = "unknown field %.80q"
			case fields != nil:
				value = field
			}
			if seen[key] = true; problem != "" {
				return fmt.Errorf("line %d: "+problem, line(data, d.InputOffset()), key)
			}
		}
		if err := checkKeys(data, d, value); err != nil {
			return err
		}
	}
	_, err = d.Token() // the closing bracket
	return err
}

var decoder = reflect.TypeFor[json.Unmarshaler]()

// parts returns the types of a struct's fields by their keys, or the type of a list's or a
// map's elements. A type that may be any, or that decodes itself, has neither.
func parts(t reflect.Type) (fields map[string]reflect.Type, element reflect.Type) {
	for t != nil && t.Kind() == reflect.Pointer && !t.Implements(decoder) {
		t = t.Elem()
	}
	if t == nil || t.Implements(decoder) || reflect.PointerTo(t).Implements(decoder) {
		return nil, nil
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return nil, t.Elem()
	case reflect.Struct:
		fields = map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Tag.Get("json") == "-", f.Anonymous && name == "": // its own fields follow
			case name == "":
				fields[f.Name] = f.Type
			default:
				fields[name] = f.Type
			}
		}
	}
	return fields, nil
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
