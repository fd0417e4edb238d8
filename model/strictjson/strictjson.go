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
	if !json.Valid(data) {
		return locate(data, json.Unmarshal(data, new(json.RawMessage)))
	}
	if !utf8.Valid(data) { // json.Unmarshal replaces what is not
		return errors.New("not UTF-8")
	}
	r := reader{data: data, parts: map[reflect.Type]parts{}}
	if err := r.checkKeys(r.token(), reflect.TypeOf(v)); err != nil {
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

// A reader reads valid JSON.
type reader struct {
	data  []byte
	at    int // the end of the last token
	parts map[reflect.Type]parts
}

// token returns the next bracket or scalar.
func (r *reader) token() []byte {
	for strings.IndexByte(" \t\r\n,:", r.data[r.at]) >= 0 {
		r.at++
	}
	begin := r.at
	switch r.data[begin] {
	case '{', '}', '[', ']':
		r.at++
	case '"':
		for r.at++; r.data[r.at] != '"'; r.at++ {
			if r.data[r.at] == '\\' {
				r.at++
			}
		}
		r.at++
	default:
		for r.at < len(r.data) && strings.IndexByte(" \t\r\n,]}", r.data[r.at]) < 0 {
			r.at++
		}
	}
	return r.data[begin:r.at]
}

// checkKeys returns an error for the first key in the value that begins with token that
// is twice in one object, or that the type, nil if it may be any, has no field for.
func (r *reader) checkKeys(token []byte, t reflect.Type) error {
	if token[0] != '{' && token[0] != '[' {
		return nil
	}
	p, ok := r.parts[t]
	if !ok {
		p = partsOf(t)
		r.parts[t] = p
	}
	isObject, seen := token[0] == '{', map[string]bool{}
	for token = r.token(); token[0] != '}' && token[0] != ']'; token = r.token() {
		value := p.element
		if isObject {
			key, problem := string(token[1:len(token)-1]), ""
			if strings.Contains(key, `\`) {
				if err := json.Unmarshal(token, &key); err != nil {
					return err
				}
			}
			field, ok := p.fields[key]
			switch {
			case seen[key]:
				problem = "key %.80q is there twice"
			case p.fields != nil && !ok:
				problem = "unknown field %.80q"
			case p.fields != nil:
				value = field
			}
			if seen[key] = true; problem != "" {
				return fmt.Errorf("line %d: "+problem, line(r.data, int64(r.at)), key)
			}
			token = r.token()
		}
		if err := r.checkKeys(token, value); err != nil {
			return err
		}
	}
	return nil
}

var decoder = reflect.TypeFor[json.Unmarshaler]()

// parts are the types of a struct's fields by their keys, or the type of a list's or a
// map's elements. A type that may be any, or that decodes itself, has neither.
type parts struct {
	fields  map[string]reflect.Type
	element reflect.Type
}

func partsOf(t reflect.Type) (p parts) {
	for t != nil && t.Kind() == reflect.Pointer && !t.Implements(decoder) {
		t = t.Elem()
	}
	if t == nil || t.Implements(decoder) || reflect.PointerTo(t).Implements(decoder) {
		return p
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		p.element = t.Elem()
	case reflect.Struct:
		p.fields = map[string]reflect.Type{}
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Tag.Get("json") == "-", f.Anonymous && name == "": // its own fields follow
			case name == "":
				p.fields[f.Name] = f.Type
			default:
				p.fields[name] = f.Type
			}
		}
	}
	return p
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
