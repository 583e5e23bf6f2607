"""One public function a stage: values and settings in, a result out; no paths, no printing."""
