package dump

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"

	"checkpoint12/harness"
	"checkpoint12/harness/internal/names"
	"checkpoint12/harness/internal/shapes"
	"checkpoint12/model/regularfile"
	"checkpoint12/model/strictjson"
)

// ManifestFile is the manifest's name in a dump.
const ManifestFile = "manifest.json"

// CutFile is the name of the file that says how a run was cut into steps.
const CutFile = "cut.json"

// maxManifest bounds what is read as a manifest: 100,000 files of a dump.
const maxManifest = 32 << 20

// ReadManifest reads and checks the manifest of the dump at dir, and nothing else
// there. Errors name the file. Where there is none the error is fs.ErrNotExist.
func ReadManifest(dir string) (*harness.Manifest, error) {
	path := filepath.Join(dir, ManifestFile)
	if IsArchive(dir) {
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	b, err := regularfile.Read(path, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// ParseManifest reads a manifest strictly: one JSON object of schema 1, no
// unknown field, no key twice, nothing after it, every hash, path, shape and rule
// well formed.
func ParseManifest(b []byte) (*harness.Manifest, error) {
	var head struct {
		Schema *int `json:"schema"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, err
	}
	if head.Schema == nil || *head.Schema != 1 {
		return nil, errors.New(`not a checkpoint12 manifest: "schema" is not 1; remove the file to read the folder as a dump of another engine`)
	}
	m := new(harness.Manifest)
	if err := strictjson.Unmarshal(b, m); err != nil {
		return nil, err
	}
	if err := checkManifest(m); err != nil {
		return nil, err
	}
	return m, nil
}

var hexSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// checkManifest returns an error if the manifest is not well formed in itself.
func checkManifest(m *harness.Manifest) error {
	switch {
	case m.Model.Name == "":
		return errors.New("model.name is missing")
	case m.Model.WeightsSHA256 != "" && !hexSHA256.MatchString(m.Model.WeightsSHA256):
		return fmt.Errorf("model.weights_sha256 %q is not a SHA-256", m.Model.WeightsSHA256)
	case len(m.Model.Config) > 0 && m.Model.Config[0] != '{':
		return fmt.Errorf("model.config is not an object: %.20s", m.Model.Config)
	case m.Engine.Name == "":
		return errors.New("engine.name is missing")
	case m.New < 0 || len(m.Tokens) > 0 && m.New == 0:
		return fmt.Errorf("new is %d, want at least 1", m.New)
	case len(m.Files) == 0:
		return errors.New("files is empty")
	}
	if len(m.Tokens) > 0 {
		if err := harness.CheckTokens(m.Tokens); err != nil {
			return err
		}
	}
	for _, t := range m.Temperatures {
		if !(t > 0) {
			return fmt.Errorf("temperature %v is not positive", t)
		}
	}
	for _, s := range m.Exporter {
		if !hexSHA256.MatchString(s.SHA256) {
			return fmt.Errorf("exporter %s: %q is not a SHA-256", s.Path, s.SHA256)
		}
	}
	seen := make(map[string]bool, len(m.Files))
	for _, f := range m.Files {
		if err := checkFile(m, f); err != nil {
			return fmt.Errorf("files: %s: %w", f.Path, err)
		}
		if seen[f.Path] {
			return fmt.Errorf("files: %s: twice", f.Path)
		}
		seen[f.Path] = true
	}
	if len(m.Tokens) > 0 && !seen[harness.TokensFile] {
		return fmt.Errorf("files: %s is missing", harness.TokensFile)
	}
	for _, l := range m.LeftOut {
		if err := l.Check(); err != nil {
			return fmt.Errorf("left_out: %w", err)
		}
	}
	return nil
}

func checkFile(m *harness.Manifest, f harness.File) error {
	if f.Path == harness.TokensFile || f.Path == harness.MaskFile {
		if f.Step != nil || f.Stage != "" {
			return errors.New("tokens and mask belong to no step and no stage")
		}
		if f.DType != "int64" {
			return fmt.Errorf("dtype %q, want int64", f.DType)
		}
	} else {
		if f.Step == nil || *f.Step < 0 || !names.Valid(f.Stage) {
			return errors.New("step or stage is missing")
		}
		if want := (harness.Place{Step: *f.Step, Stage: f.Stage}).File(); f.Path != want {
			return fmt.Errorf("step %d of stage %s belongs at %s", *f.Step, f.Stage, want)
		}
		if len(m.Tokens) > 0 && *f.Step >= m.New {
			return fmt.Errorf("step %d of a dump of %d", *f.Step, m.New)
		}
	}
	if f.DType != "float32" && f.DType != "int64" {
		return fmt.Errorf("dtype %q, want float32 or int64", f.DType)
	}
	if _, ok := shapes.Size(f.Shape); !ok || f.Shape == nil {
		return fmt.Errorf("%v is not a shape", f.Shape)
	}
	if !hexSHA256.MatchString(f.SHA256) {
		return fmt.Errorf("%q is not a SHA-256", f.SHA256)
	}
	return nil
}
