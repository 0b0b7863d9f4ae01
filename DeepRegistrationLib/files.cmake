# What the extension packages besides its modules, relative to the top of the source tree.
# Written by `make package-list`: run it after adding, moving or removing a file.

set(DeepRegistrationLib_PYTHON_SCRIPTS
  DeepRegistrationLib/core/__init__.py
  DeepRegistrationLib/core/context.py
  DeepRegistrationLib/core/device.py
  DeepRegistrationLib/core/errors.py
  DeepRegistrationLib/core/grid.py
  DeepRegistrationLib/core/image.py
  DeepRegistrationLib/core/points.py
  DeepRegistrationLib/core/problem.py
  DeepRegistrationLib/core/progress.py
  DeepRegistrationLib/core/registry.py
  DeepRegistrationLib/core/result.py
  DeepRegistrationLib/core/sampling.py
  DeepRegistrationLib/core/spec.py
  DeepRegistrationLib/core/transform.py
  DeepRegistrationLib/gui/__init__.py
  DeepRegistrationLib/io/__init__.py
  DeepRegistrationLib/jobs/__init__.py
  DeepRegistrationLib/losses/__init__.py
  DeepRegistrationLib/methods/__init__.py
  DeepRegistrationLib/methods/deformable/__init__.py
  DeepRegistrationLib/methods/rigid/__init__.py
  DeepRegistrationLib/metrics/__init__.py
  DeepRegistrationLib/mrml/__init__.py
  DeepRegistrationLib/ops/__init__.py
  DeepRegistrationLib/optim/__init__.py
  DeepRegistrationLib/transforms/__init__.py
  DeepRegistrationLib/transforms/affine.py
  DeepRegistrationLib/transforms/compose.py
  DeepRegistrationLib/transforms/displacement.py
  DeepRegistrationLib/transforms/inverse.py
  DeepRegistrationLib/transforms/jacobian.py
  DeepRegistrationLib/transforms/velocity.py
  )

set(DeepRegistrationLib_PYTHON_RESOURCES
  )
