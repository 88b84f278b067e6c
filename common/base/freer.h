// The deleter of a unique_ptr to what a C library made: std::unique_ptr<BIO, Freer<BIO_free>>. Never holds state.
#pragma once

namespace sluice {

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* value) const {
    Free(value);
  }
};

}  // namespace sluice
