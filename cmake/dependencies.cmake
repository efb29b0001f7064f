# Everything comes from the distribution through pkg-config; nothing is downloaded.
find_package(PkgConfig REQUIRED)
pkg_check_modules(LIBCRYPTO REQUIRED IMPORTED_TARGET libcrypto>=3.0)
pkg_check_modules(LIBSSL REQUIRED IMPORTED_TARGET libssl>=3.0)
pkg_check_modules(LIBUV REQUIRED IMPORTED_TARGET libuv>=1.42)
pkg_check_modules(LIBCONFIG REQUIRED IMPORTED_TARGET libconfig>=1.5)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.13)
pkg_check_modules(LIBSECCOMP REQUIRED IMPORTED_TARGET libseccomp>=2.5)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
