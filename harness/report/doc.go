// Package report writes a comparison as text for people.
package report
