package harnesstest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"checkpoint12/model/regularfile"
)

func schemaPath() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "report", "schema.json")
}

// schemas are those of what compare and verify write, by the key that tells them.
var schemas = sync.OnceValues(func() (map[string]*jsonschema.Schema, error) {
	path := schemaPath()
	all := map[string]*jsonschema.Schema{}
	c := jsonschema.NewCompiler()
	for key, def := range map[string]string{"first_divergence": "compare", "checkpoints": "verify"} {
		s, err := c.Compile(path + "#/$defs/" + def)
		if err != nil {
			return nil, err
		}
		all[key] = s
	}
	var err error
	all["any"], err = c.Compile(path)
	return all, err
})

// CheckSchema returns an error if a report's JSON is not as its schema says.
func CheckSchema(data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	all, err := schemas()
	if err != nil {
		return err
	}
	object, _ := v.(map[string]any)
	for key, s := range all {
		if _, ok := object[key]; ok || key == "any" {
			if err := s.Validate(v); err != nil {
				return err
			}
		}
	}
	return nil
}

// selftests is the schema of what selftest writes.
var selftests = sync.OnceValues(func() (*jsonschema.Schema, error) {
	return jsonschema.NewCompiler().Compile(filepath.Join(filepath.Dir(schemaPath()), "selftest.schema.json"))
})

// CheckSelftest returns an error if the JSON of a matrix of selftest is not as its schema says.
func CheckSelftest(data []byte) error {
	s, err := selftests()
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

// CheckReport returns an error if the JSON of a report is not as its schema says.
func CheckReport(report any) error {
	data, err := json.Marshal(report)
	if err == nil {
		err = CheckSchema(data)
	}
	if err != nil {
		return fmt.Errorf("the report's JSON: %w", err)
	}
	return nil
}

// SchemaKeys returns the keys that objects of reports may have.
func SchemaKeys() map[string]bool {
	var schema map[string]any
	data, err := regularfile.Read(schemaPath(), 1<<20)
	if err == nil {
		err = json.Unmarshal(data, &schema)
	}
	if err != nil {
		panic(err)
	}
	keys := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			properties, _ := v["properties"].(map[string]any)
			for k := range properties {
				keys[k] = true
			}
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(schema)
	return keys
}
