package main

import (
	"bytes"
	"strings"
	"testing"
)

const table = `{"device": "A card (discrete, vulkan)", "ceilings": {"gflops": 1000, "copy_f32_gbs": 50, "copy_vec4_gbs": 100}, "cells": [
	{"op": "matmul_nf4_forward", "flops": 4000, "bytes": 100, "gflops": 400}, {"op": "attention_forward", "flops": 300, "bytes": 100, "gflops": 20},
	{"op": "matmul_nf4_backward", "flops": 4000, "bytes": 100, "gflops": 0, "skipped": "too big"}]}`

func TestRoofline(t *testing.T) {
	var svg bytes.Buffer
	if err := roofline(strings.NewReader(table), &svg); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"<svg", "A card", "NF4 product, forward", "attention, forward", "copy by vec4, 100.0 GB/s", "copy by float32, 50.0 GB/s",
	} {
		if !strings.Contains(svg.String(), text) {
			t.Errorf("the picture lacks %q", text)
		}
	}
	if strings.Contains(svg.String(), "NF4 product, dX") {
		t.Error("a skipped cell is drawn")
	}
}

func TestRooflineRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":   "what bench kernels --json prints was wanted: EOF",
		"{}": "no measured cell",
		strings.Replace(table, "attention_forward", "knitting", 1): `operation "knitting" has no colour`,
		strings.Replace(table, `"gflops": 1000`, `"gflops": 0`, 1): "no ceilings",
	} {
		var svg bytes.Buffer
		if err := roofline(strings.NewReader(text), &svg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, wanted %q", err, want)
		}
	}
}
