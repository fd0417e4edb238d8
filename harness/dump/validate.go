package dump

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-cmp/cmp"

	"checkpoint12/harness"
	"checkpoint12/harness/npy"
	"checkpoint12/model/parallel"
)

// validate returns an error unless the folder agrees with the manifest: every file
// there with its shape, dtype and hash, no other file in any step's folder, and
// tokens.npy beginning with the manifest's tokens. The error names the file.
func validate(m *harness.Manifest, dir string, listed Listing) error {
	want := make(map[string]harness.File, len(m.Files))
	for _, f := range m.Files {
		want[f.Path] = f
	}
	for _, path := range listed.inSteps {
		if _, ok := want[path]; !ok {
			return fmt.Errorf("%s: not in %s", filepath.Join(dir, path), ManifestFile)
		}
	}
	if _, ok := want[harness.TokensFile]; !ok && listed.Tokens != "" {
		return fmt.Errorf("%s: not in %s", filepath.Join(dir, harness.TokensFile), ManifestFile)
	}
	errs := make([]error, len(m.Files))
	parallel.For(len(m.Files), func(i int) { errs[i] = validateFile(m.Files[i], dir) })
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return validateTokens(m, dir)
}

// validateFile checks one file against the disk.
func validateFile(f harness.File, dir string) error {
	path := filepath.Join(dir, filepath.FromSlash(f.Path))
	info, _, err := npy.Stat(path, false)
	if err != nil {
		return err
	}
	if !slices.Equal(info.Shape, f.Shape) {
		return fmt.Errorf("%s: shape %v, but %s says %v", path, info.Shape, ManifestFile, f.Shape)
	}
	if info.Kind.String() != f.DType {
		return fmt.Errorf("%s: dtype %s, but %s says %s", path, info.Kind, ManifestFile, f.DType)
	}
	sum, err := hashFile(path)
	if err != nil {
		return err
	}
	if sum != f.SHA256 {
		return fmt.Errorf("%s: SHA-256 %.12s…, but %s says %.12s…: the file was changed after the dump was made", path, sum, ManifestFile, f.SHA256)
	}
	return nil
}

// validateTokens checks tokens.npy against the manifest's prompt.
func validateTokens(m *harness.Manifest, dir string) error {
	if len(m.Tokens) == 0 {
		return nil
	}
	path := filepath.Join(dir, harness.TokensFile)
	t, _, err := readTokens(path, false)
	if err != nil {
		return err
	}
	if want := []int{len(m.Tokens), len(m.Tokens[0]) + m.New}; !slices.Equal(t.Shape, want) {
		return fmt.Errorf("%s: shape %v, but %s says %v: prompt and %d new", path, t.Shape, ManifestFile, want, m.New)
	}
	if diff := cmp.Diff(m.Tokens, harness.TokenRows(t, len(m.Tokens[0]))); diff != "" {
		return &harness.DiffError{Line: fmt.Sprintf("%s: does not begin with the tokens that %s says", path, ManifestFile), Diff: diff}
	}
	return nil
}

// hashFile returns the hexadecimal SHA-256 of a file.
func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
